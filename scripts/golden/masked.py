"""Both gradients with shut weights: with respect to what the UNet computes with, M ⊙ W, and to W itself, of which nothing shut counts.

Model, inputs and masks are those of `unet-tiny`, which must have been written before.
"""
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch.func import functional_call
import diffusers.models.embeddings

from . import common, unet

CASES = {"unet-tiny-masked": {}}
TINY = common.ROOT / "unet-tiny"


def evaluate(model, tensors):
    """{respect to: {K-V weight: gradient of the loss}}, summed over rows, each of which has a mask of its own."""
    x = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    wide = common.wide(model.dtype)
    sums = {}
    for b in range(len(x["sample"])):
        weights = {name: p.detach().clone().requires_grad_(True) for name, p in unet.kv_parameters(model).items()}
        masked = {}
        for name, weight in weights.items():
            mask = torch.ones(weight.numel(), dtype=weight.dtype)
            mask[tensors[f"mask.{b}.{name}"].long()] = 0
            masked[name] = mask.view_as(weight) * weight
        row = (x["sample"][b:b + 1], x["timesteps"][b:b + 1], x["encoder_hidden_states"][b:b + 1])
        if model.dtype == torch.float64:
            with common.float64_in(diffusers.models.embeddings):
                out = functional_call(model, masked, row).sample
        else:
            out = functional_call(model, masked, row).sample
        loss = common.per_row_mse(out.to(wide), tensors["target"][b:b + 1].to(wide), tensors["weights"][b:b + 1].to(wide))
        scale = common.gradient_scale(model.dtype, out[0].numel())
        for what, of in {"masked": masked, "weights": weights}.items():
            gradients = torch.autograd.grad(scale * loss, list(of.values()), retain_graph=True)
            for name, gradient in zip(of, gradients):
                key = f"grad.{what}.{name}"
                sums[key] = sums.get(key, 0) + common.widen(gradient) / scale
    return sums


def half_runs(name, folder, tensors, dtype):
    stored = load_file(TINY / "golden.safetensors")
    model = UNet2DConditionModel.from_pretrained(TINY / "unet").to(dtype).eval().requires_grad_(False)
    for rounding in common.ROUNDINGS:
        rounded = {k: common.round_to(dtype, stored[k], rounding) for k in ("sample", "encoder_hidden_states")}
        yield from (evaluate(variant, {**stored, **rounded}) for variant in unet.variants(model))


def dump(name, folder):
    tensors = load_file(TINY / "golden.safetensors")
    model = UNet2DConditionModel.from_pretrained(TINY / "unet", torch_dtype=torch.float32).eval().requires_grad_(False)
    reference = evaluate(unet.to_float64(model), {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()})
    common.write_golden(folder, {}, reference, [evaluate(variant, tensors) for variant in unet.variants(model)])
