"""Goldens of autoencoders other than AutoencoderKL: AutoencoderTiny, and AsymmetricAutoencoderKL without a mask."""
import copy

import torch
from diffusers import AsymmetricAutoencoderKL, AutoencoderTiny

from . import common

CASES = {
    "vae-tiny": dict(cls=AutoencoderTiny, shape=(2, 24, 40), dtype=torch.float16, config=dict(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(12,) * 4, num_encoder_blocks=(1, 2, 1, 2),
        num_decoder_blocks=(2, 1, 2, 1))),
    "vae-asymmetric": dict(cls=AsymmetricAutoencoderKL, shape=(1, 20, 12), dtype=torch.float16, config=dict(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, down_block_out_channels=(8, 8, 16),
        up_block_out_channels=(8, 16, 24), layers_per_down_block=1, layers_per_up_block=2, norm_num_groups=4, sample_size=16)),
}


@torch.no_grad()
def evaluate(model, inputs):
    encoded = model.encode(inputs["image"].to(model.dtype))
    tiny = isinstance(model, AutoencoderTiny)
    return {"encoded": encoded.latents if tiny else encoded.latent_dist.parameters,
            "decoded": model.decode(inputs["latents"].to(model.dtype)).sample}


def variants(model):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        yield copy.deepcopy(model).to(memory_format=memory_format)


def half_runs(name, folder, tensors, dtype):
    model = CASES[name]["cls"].from_pretrained(folder / "vae").to(dtype).eval()
    return [evaluate(variant, tensors) for variant in variants(model)]


def dump(name, folder):
    case = CASES[name]
    seed = 4_000_000 + 1000 * list(CASES).index(name)
    model = common.randomize(case["cls"](**case["config"]), seed, case["dtype"])
    common.write_config(folder / "vae", model)
    common.write_weights(folder / "vae", model.state_dict(), case["dtype"])
    common.check_same_weights(model, case["cls"].from_pretrained(folder / "vae"))
    batch, height, width = case["shape"]
    factor = 8 if name == "vae-tiny" else 4
    inputs = {"image": 2 * torch.rand(batch, 3, height, width, generator=common.generator(seed + 1)) - 1,
              "latents": 2 * common.normal(seed + 2, batch, 4, height // factor, width // factor)}
    reference = evaluate(copy.deepcopy(model).double(), inputs)
    common.write_golden(folder, inputs, reference, [evaluate(m, inputs) for m in variants(model)])
