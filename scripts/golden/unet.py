"""UNet goldens: output, loss, gradients of inputs and of every K-V weight (of small cases: of every weight), and per-row masks."""
import copy
import re

import diffusers.models.embeddings
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from . import common

KV = re.compile(r"\.attn[12]\.to_[kv]\.weight$")

# The keys of Stable Diffusion 1.4's unet/config.json: an old config, from which many of today's keys are absent.
SD1_KEYS = """_class_name _diffusers_version act_fn attention_head_dim block_out_channels center_input_sample
class_embed_type cross_attention_dim down_block_types downsample_padding dual_cross_attention flip_sin_to_cos freq_shift
in_channels layers_per_block mid_block_scale_factor mid_block_type norm_eps norm_num_groups num_class_embeds
only_cross_attention out_channels resnet_time_scale_shift sample_size up_block_types upcast_attention
use_linear_projection""".split()

CROSS_DOWN, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, UP = "CrossAttnUpBlock2D", "UpBlock2D"

# shape: (batch, height, width, text length); gradients: of which weights
CASES = {
    "unet-sd1": dict(  # Stable Diffusion 1.x: convolutions as projections, `attention_head_dim` is a number of heads
        config=dict(block_out_channels=(16, 16, 32, 32), down_block_types=(CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN),
                    up_block_types=(UP, CROSS_UP, CROSS_UP, CROSS_UP), layers_per_block=2, attention_head_dim=4,
                    norm_num_groups=8, cross_attention_dim=48, sample_size=16),
        keys=SD1_KEYS, shape=(2, 16, 16, 77), timesteps=(981, 3), dtype=torch.float32),
    "unet-sd2": dict(  # Stable Diffusion 2.x: linear projections, heads per level; head dim 40 everywhere
        config=dict(block_out_channels=(40, 80), down_block_types=(CROSS_DOWN, DOWN),
                    up_block_types=(UP, CROSS_UP), layers_per_block=1, attention_head_dim=(1, 2),
                    norm_num_groups=8, cross_attention_dim=64, sample_size=8, use_linear_projection=True,
                    upcast_attention=True),
        shape=(2, 8, 12, 77), timesteps=(500, 41), dtype=torch.float16),
    "unet-one-level": dict(  # head dim 80, input centred, three rows
        config=dict(block_out_channels=(80,), down_block_types=(CROSS_DOWN,), up_block_types=(CROSS_UP,),
                    layers_per_block=1, attention_head_dim=1, norm_num_groups=20, cross_attention_dim=24,
                    sample_size=7, center_input_sample=True),
        shape=(3, 7, 5, 9), timesteps=(0, 999, 250), dtype=torch.bfloat16),
    "unet-odd": dict(  # sizes that 2^levels does not divide, two transformer blocks each, the other time embedding
        config=dict(block_out_channels=(24, 32, 48), down_block_types=(DOWN, CROSS_DOWN, CROSS_DOWN),
                    up_block_types=(CROSS_UP, CROSS_UP, UP), layers_per_block=1, attention_head_dim=(1, 2, 3),
                    norm_num_groups=8, cross_attention_dim=40, sample_size=8, transformer_layers_per_block=2,
                    flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6, out_channels=4),
        shape=(1, 9, 13, 20), timesteps=(777,), dtype=torch.float16, shards=3),
    "unet-lists": dict(  # layers and transformer blocks per level; small enough for the gradients of all weights
        config=dict(block_out_channels=(8, 8, 12), down_block_types=(CROSS_DOWN, CROSS_DOWN, DOWN),
                    up_block_types=(UP, CROSS_UP, CROSS_UP), layers_per_block=(1, 2, 1), attention_head_dim=(1, 2, 4),
                    transformer_layers_per_block=(2, 1, 1), norm_num_groups=4, cross_attention_dim=20, sample_size=8),
        shape=(2, 12, 12, 3), timesteps=(1, 600), dtype=torch.float32, gradients="all"),
    "unet-tiny": dict(  # the same for linear projections
        config=dict(block_out_channels=(8,), down_block_types=(CROSS_DOWN,), up_block_types=(CROSS_UP,),
                    layers_per_block=1, attention_head_dim=2, norm_num_groups=4, cross_attention_dim=12, sample_size=8,
                    use_linear_projection=True),
        shape=(2, 6, 8, 5), timesteps=(20, 700), dtype=torch.float16, gradients="all"),
    "unet-no-mid": dict(  # distilled models (BK-SDM tiny, tiny-sd): no mid block, attention on the last level
        config=dict(block_out_channels=(4, 8), down_block_types=(DOWN, CROSS_DOWN), mid_block_type=None,
                    up_block_types=(CROSS_UP, UP), layers_per_block=1, attention_head_dim=2,
                    norm_num_groups=2, cross_attention_dim=8, sample_size=8),
        shape=(1, 4, 6, 3), timesteps=(400,), dtype=torch.float16),
}


def build(case, seed):
    """The model of a case in fp32, with the stored (rounded) weights."""
    model = UNet2DConditionModel(**case["config"])
    return common.randomize(model, seed, case["dtype"])


def write(folder, model, dtype, keys=None, shards=1):
    common.write_config(folder, model, keys)
    common.write_weights(folder, model.state_dict(), dtype, shards)
    common.check_same_weights(model, UNet2DConditionModel.from_pretrained(folder))


def kv_parameters(model):
    return {name: p for name, p in model.named_parameters() if KV.search(name)}


def to_float64(model):
    return copy.deepcopy(model).double()


def forward(model, sample, timesteps, states):
    """The UNet's output in the model's own precision: in fp64 the time embedding is fp64 too."""
    if model.dtype == torch.float64:
        with common.float64_in(diffusers.models.embeddings):
            return model(sample, timesteps, states).sample
    return model(sample, timesteps, states).sample


def variants(model):
    """The same model run as PyTorch users do: both memory formats, and fused and plain attention."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        for processor in (AttnProcessor2_0(), AttnProcessor()):
            variant = copy.deepcopy(model).to(memory_format=memory_format)
            variant.set_attn_processor(processor)
            yield variant


def evaluate(model, inputs, parameters):
    """{out, loss, grad.*} of per_row_mse, grad of the inputs and of `parameters`, {name: parameter}."""
    x = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    sample = x["sample"].clone().requires_grad_(True)
    states = x["encoder_hidden_states"].clone().requires_grad_(True)
    for p in parameters.values():
        p.requires_grad_(True)
    out = forward(model, sample, x["timesteps"], states)
    wide = common.wide(model.dtype)
    loss = common.per_row_mse(out.to(wide), inputs["target"].to(wide), inputs["weights"].to(wide))
    scale = common.gradient_scale(model.dtype, out[0].numel())
    gradients = torch.autograd.grad(scale * loss, [sample, states, *parameters.values()])
    names = ["sample", "encoder_hidden_states", *parameters]
    return {"out": out.detach(), "loss": loss.detach(),
            **{f"grad.{n}": common.widen(g) / scale for n, g in zip(names, gradients)}}


def draw_masks(model, rows, density, seed):
    """Per row, the sorted flat indices of the K-V weights to shut: [{name: int32 [n]}]."""
    g = common.generator(seed)
    return [{name: torch.nonzero(torch.rand(p.numel(), generator=g) < density).flatten().int()
             for name, p in kv_parameters(model).items()} for _ in range(rows)]


def shut(model, mask):
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in kv_parameters(masked).items():
            p.view(-1)[mask[name].long()] = 0
    return masked


def evaluate_masked(model, inputs, masks):
    """Row b alone under mask b, by weights set to zero; results stacked over rows."""
    rows = [evaluate(shut(model, mask), {k: v[b:b + 1] for k, v in inputs.items()}, {})
            for b, mask in enumerate(masks)]
    return {
        "masked.out": torch.cat([r["out"] for r in rows]),
        "masked.loss": sum(r["loss"] for r in rows),
        "masked.grad.sample": torch.cat([r["grad.sample"] for r in rows]),
        "masked.grad.encoder_hidden_states": torch.cat([r["grad.encoder_hidden_states"] for r in rows]),
    }


def everything(case, model, inputs, masks):
    parameters = dict(model.named_parameters()) if case.get("gradients") == "all" else kv_parameters(model)
    return {**evaluate(model, inputs, parameters), **evaluate_masked(model, inputs, masks)}


def runs_of(case, model, inputs, masks):
    """everything() as PyTorch's users may get it."""
    runs = [everything(case, variant, inputs, masks) for variant in variants(model)]
    if case.get("gradients") == "all":
        # Of hundreds of small tensors a few runs' largest error is too small for some by luck: four more runs.
        with torch.backends.mkldnn.flags(enabled=False):
            runs += [everything(case, variant, inputs, masks) for variant in variants(model)]
    return runs


def half_runs(name, folder, tensors, dtype):
    model = UNet2DConditionModel.from_pretrained(folder / "unet").to(dtype).eval().requires_grad_(False)
    inputs = {k: tensors[k] for k in ("sample", "timesteps", "encoder_hidden_states", "target", "weights")}
    masks = [{k: tensors[f"mask.{b}.{k}"] for k in kv_parameters(model)} for b in range(len(inputs["sample"]))]
    for rounding in common.ROUNDINGS:
        rounded = {k: common.round_to(dtype, inputs[k], rounding) for k in ("sample", "encoder_hidden_states")}
        yield from runs_of(CASES[name], model, {**inputs, **rounded}, masks)


def dump(name, folder):
    case = CASES[name]
    seed = 1000 * (1 + list(CASES).index(name))
    model = build(case, seed)
    write(folder / "unet", model, case["dtype"], case.get("keys"), case.get("shards", 1))

    batch, height, width, length = case["shape"]
    inputs = {
        "sample": common.normal(seed + 1, batch, model.config.in_channels, height, width),
        "timesteps": torch.tensor(case["timesteps"], dtype=torch.int32),
        "encoder_hidden_states": common.normal(seed + 2, batch, length, model.config.cross_attention_dim),
        "target": common.normal(seed + 3, batch, model.config.out_channels, height, width),
        "weights": torch.tensor([1.0, 0.25, 2.0][:batch]),
    }
    # The first row's mask differs from the second's; a third row has an empty one.
    masks = draw_masks(model, min(batch, 2), 0.05, seed + 4)
    masks += [{k: v[:0] for k, v in masks[0].items()}] * (batch - len(masks))

    reference = everything(case, to_float64(model), inputs, masks)
    runs = runs_of(case, model, inputs, masks)
    mask_tensors = {f"mask.{b}.{k}": v for b, mask in enumerate(masks) for k, v in mask.items()}
    common.write_golden(folder, {**inputs, **mask_tensors}, reference, runs)
