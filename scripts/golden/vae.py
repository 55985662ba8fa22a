"""VAE goldens: the moments that encode gives, and decode."""
import copy

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from . import common

# The keys of Stable Diffusion 1.4's vae/config.json.
SD1_KEYS = """_class_name _diffusers_version act_fn block_out_channels down_block_types in_channels latent_channels
layers_per_block out_channels sample_size scaling_factor up_block_types""".split()

# Names of the attention weights in Stable Diffusion 1.x's files, which diffusers renames when it loads them.
OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def blocks(levels):
    return dict(down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels)


CASES = {
    "vae-sd1": dict(
        config=dict(block_out_channels=(32, 32, 32, 64), **blocks(4), layers_per_block=2, latent_channels=4,
                    sample_size=64, scaling_factor=0.18215),
        keys=SD1_KEYS, names=OLD_NAMES, shape=(1, 24, 40), dtype=torch.float16),
    "vae-small": dict(  # 2 levels, no 1x1 convolutions round the latents, odd number of latents in both directions
        config=dict(block_out_channels=(16, 24), **blocks(2), layers_per_block=1, latent_channels=3,
                    norm_num_groups=8, sample_size=16, use_quant_conv=False, use_post_quant_conv=False),
        shape=(2, 10, 14), dtype=torch.float32),
    "vae-no-attention": dict(
        config=dict(block_out_channels=(16,), **blocks(1), layers_per_block=1, latent_channels=4, norm_num_groups=4,
                    sample_size=9, mid_block_add_attention=False),
        shape=(1, 9, 5), dtype=torch.bfloat16),
}


def write(folder, model, dtype, keys=None, names={}):
    common.write_config(folder, model, keys)
    weights = {}
    for name, value in model.state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        weights[name] = value
    common.write_weights(folder, weights, dtype)
    common.check_same_weights(model, AutoencoderKL.from_pretrained(folder))


def variants(model):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        for processor in (AttnProcessor2_0(), AttnProcessor()):
            variant = copy.deepcopy(model).to(memory_format=memory_format)
            variant.set_attn_processor(processor)
            yield variant


@torch.no_grad()
def evaluate(model, inputs):
    return {"moments": model.encode(inputs["image"].to(model.dtype)).latent_dist.parameters,
            "decoded": model.decode(inputs["latents"].to(model.dtype)).sample}


def half_runs(name, folder, tensors, dtype):
    model = AutoencoderKL.from_pretrained(folder / "vae").to(dtype).eval()
    return [evaluate(variant, tensors) for variant in variants(model)]


def dump(name, folder):
    case = CASES[name]
    seed = 100_000 * (1 + list(CASES).index(name))
    model = common.randomize(AutoencoderKL(**case["config"]), seed, case["dtype"])
    write(folder / "vae", model, case["dtype"], case.get("keys"), case.get("names", {}))

    batch, height, width = case["shape"]
    factor = 2 ** (len(model.config.block_out_channels) - 1)
    inputs = {
        "image": 2 * torch.rand(batch, 3, height, width, generator=common.generator(seed + 1)) - 1,
        "latents": common.normal(seed + 2, batch, model.config.latent_channels, height // factor, width // factor),
    }
    reference = evaluate(copy.deepcopy(model).double(), inputs)
    common.write_golden(folder, inputs, reference, [evaluate(m, inputs) for m in variants(model)])
