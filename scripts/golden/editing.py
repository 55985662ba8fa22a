"""Pictures drawn from pictures, by diffusers' own pipelines: image to image, inpainting with 4 and 9 channels, instructions, depth; and a
latent consistency model. The text-to-image model is that of `pipeline`; the others' UNets are here, each in a folder of its name.

The pipelines draw the posterior's mode and the noise of `noise`: what they would take from a generator is replaced.
"""
import contextlib
import copy
import importlib
import math

import diffusers.models.embeddings
import numpy as np
import PIL.Image
import torch
from diffusers import (AutoencoderKL, LCMScheduler, PNDMScheduler, StableDiffusionDepth2ImgPipeline, StableDiffusionImg2ImgPipeline,
                       StableDiffusionInpaintPipeline, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline, TCDScheduler,
                       UNet2DConditionModel)
from diffusers.schedulers import scheduling_ddim, scheduling_dpmsolver_multistep, scheduling_euler_discrete, scheduling_pndm, scheduling_tcd

from . import common, pipeline, unet, vae

CASES = {"editing": {}}
SAMPLERS = {**pipeline.SAMPLERS, "pndm": PNDMScheduler, "lcm": LCMScheduler, "tcd": TCDScheduler}
FLOAT64 = (diffusers.models.embeddings, scheduling_ddim, scheduling_dpmsolver_multistep, scheduling_euler_discrete, scheduling_pndm, scheduling_tcd)
UNET = {**pipeline.UNET, "block_out_channels": (8, 16), "norm_num_groups": 4}
UNETS = {"inpainting": {"in_channels": 9}, "picture": {"in_channels": 8}, "depth": {"in_channels": 5}, "lcm": {"time_cond_proj_dim": 16}}

RUNS = {
    "image.dpm": dict(sampler="dpm-solver-multistep", steps=10, strength=0.6),
    "image.ddim": dict(sampler="ddim", steps=9, strength=0.35),
    "image.euler": dict(sampler="euler", steps=10, strength=0.6),
    "image.pndm": dict(sampler="pndm", steps=10, strength=0.6),
    "image.all": dict(sampler="euler", steps=4, strength=1.0),
    "image.plain": dict(sampler="dpm-solver-multistep", steps=6, strength=0.5, guidance=1),
    "known.ddim": dict(sampler="ddim", steps=6, strength=1.0),
    "known.euler": dict(sampler="euler", steps=8, strength=0.7),
    "known.pndm": dict(sampler="pndm", steps=6, strength=0.5),
    "known.dpm": dict(sampler="dpm-solver-multistep", steps=6, strength=0.75),
    "inpainting.dpm": dict(sampler="dpm-solver-multistep", steps=6, strength=1.0),
    "inpainting.euler": dict(sampler="euler", steps=8, strength=0.7),
    "inpainting.plain": dict(sampler="ddim", steps=4, strength=1.0, guidance=1),
    "picture.euler": dict(sampler="euler", steps=6, imageGuidance=1.7),
    "picture.ddim": dict(sampler="ddim", steps=6, imageGuidance=1.0),
    "picture.plain": dict(sampler="ddim", steps=4, imageGuidance=0.5),
    "depth.dpm": dict(sampler="dpm-solver-multistep", steps=10, strength=0.8),
    "depth.plain": dict(sampler="ddim", steps=5, strength=0.5, guidance=1),
    "lcm.tcd": dict(sampler="tcd", steps=4, eta=0.0),
    "lcm.one": dict(sampler="lcm", steps=1),
    "lcm.scale": dict(sampler="tcd", steps=2, eta=0.0, guidance=2.5),
}
PIPELINES = {
    "image": StableDiffusionImg2ImgPipeline, "known": StableDiffusionInpaintPipeline, "inpainting": StableDiffusionInpaintPipeline,
    "picture": StableDiffusionInstructPix2PixPipeline, "depth": StableDiffusionDepth2ImgPipeline, "lcm": StableDiffusionPipeline,
}


@contextlib.contextmanager
def given_noise(module, noise):
    """The pipeline's noise is `noise`, and its latents are the posteriors' modes."""
    saved = module.randn_tensor if hasattr(module, "randn_tensor") else None, getattr(module, "retrieve_latents", None)
    if saved[0]:
        module.randn_tensor = lambda shape, **kwargs: noise.to(kwargs.get("dtype") or noise.dtype).reshape(shape)
    if saved[1]:
        module.retrieve_latents = lambda encoded, generator=None, sample_mode="sample": saved[1](encoded, sample_mode="argmax")
    try:
        yield
    finally:
        if saved[0]:
            module.randn_tensor = saved[0]
        if saved[1]:
            module.retrieve_latents = saved[1]


def exact_guidance_embedding(w, embedding_dim=512, dtype=None):
    """StableDiffusionPipeline.get_guidance_scale_embedding in fp64: diffusers' own is fp32 whatever the type, of angles up to 10^4."""
    half = embedding_dim // 2
    angles = 1000 * w.double()[:, None] * torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, dtype=torch.float64))
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


@torch.no_grad()
def draw(name, run, model, autoencoder, inputs, config):
    kind = name.split(".")[0]
    pipe_class = PIPELINES[kind]
    scheduler = SAMPLERS[run["sampler"]].from_config(config)
    parts = dict(vae=autoencoder, text_encoder=None, tokenizer=None, unet=model, scheduler=scheduler)
    if kind == "depth":
        parts.update(depth_estimator=None, feature_extractor=None)
    else:
        parts.update(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe = pipe_class(**parts)
    pipe.set_progress_bar_config(disable=True)
    dtype = model.dtype
    if dtype == torch.float64:
        pipe.get_guidance_scale_embedding = exact_guidance_embedding
    picture = PIL.Image.fromarray(inputs["image"].numpy().astype(np.uint8))
    call = dict(prompt_embeds=inputs["embeddings"].to(dtype), negative_prompt_embeds=inputs["negative"].to(dtype),
                num_inference_steps=run["steps"], guidance_scale=run.get("guidance", pipeline.GUIDANCE), output_type="latent")
    if kind != "lcm":
        call["image"] = picture
    else:
        call.update(height=64, width=64, latents=inputs["noise"].to(dtype), **({"eta": run["eta"]} if "eta" in run else {}))
    if "strength" in run:
        call["strength"] = run["strength"]
    if kind in ("known", "inpainting"):
        call["mask_image"] = PIL.Image.fromarray(inputs["mask"].numpy().astype(np.uint8))
        call.update(height=64, width=64)
    if kind == "picture":
        call["image_guidance_scale"] = run["imageGuidance"]
    if kind == "depth":
        call["depth_map"] = inputs["depth_map"].to(dtype)[None]
    with given_noise(importlib.import_module(pipe_class.__module__), inputs["noise"]):
        latents = pipe(**call).images
    if latents.dtype != dtype:
        raise AssertionError(f"{name}: the pipeline changed the precision")
    return latents


def draw_all(models, autoencoder, inputs, config):
    result = {}
    for name, run in RUNS.items():
        result[name] = draw(name, run, models[name.split(".")[0]], autoencoder, inputs, config)
    return result


def half_runs(name, folder, tensors, dtype):
    """None: the ops are compared in 16 bits by test/backend, the networks by other cases."""
    return []


def picture(seed):
    """64 × 64: colours that change slowly, and some edges."""
    g = common.generator(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    values = torch.stack([torch.sin(3 * x + k) * torch.cos(4 * y - k) for k in range(3)], -1)
    values[16:40, 20:50] += torch.randn(3, generator=g)
    return ((values * 0.4 + 0.5).clamp(0, 1) * 255).round().int()


def dump(name, folder):
    seed, dtype = 3_000_000, torch.float16
    models = {}
    for i, (kind, more) in enumerate(UNETS.items()):
        models[kind] = common.randomize(UNet2DConditionModel(**{**UNET, **more}), seed + 10 + i, dtype)
        unet.write(folder / kind, models[kind], dtype)
    base = common.ROOT / "pipeline"
    models["image"] = models["known"] = UNet2DConditionModel.from_pretrained(base / "unet").float().eval()
    autoencoder = AutoencoderKL.from_pretrained(base / "vae").float().eval()
    config = PNDMScheduler.from_pretrained(base / "scheduler").config
    mask = torch.zeros(64, 64, 3, dtype=torch.int32)
    mask[20:56, 9:47] = torch.tensor([255, 240, 250], dtype=torch.int32)
    mask[0:8, 40:64] = 128  # just white
    mask[8:16, 40:64] = 127  # just black
    inputs = {
        "image": picture(seed), "mask": mask, "noise": common.normal(seed + 1, 1, 4, 8, 8),
        "embeddings": common.normal(seed + 2, 1, 7, 32), "negative": common.normal(seed + 3, 1, 7, 32),
        "depth_map": common.normal(seed + 4, 20, 24).cumsum(1),
    }
    with common.float64_in(*FLOAT64):
        doubles = {kind: copy.deepcopy(model).double() for kind, model in models.items()}
        reference = draw_all(doubles, copy.deepcopy(autoencoder).double(), inputs, config)
    kinds = list(models)
    runs = [draw_all(dict(zip(kinds, variants)), encoder, inputs, config)
            for *variants, encoder in zip(*(unet.variants(models[kind]) for kind in kinds), vae.variants(autoencoder))]
    common.write_golden(folder, inputs, reference, runs, {"runs": RUNS, "guidance": pipeline.GUIDANCE})
