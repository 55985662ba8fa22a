"""The UNet, trained to predict noise (epsilon) on cached latents, with the text tower frozen."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

import cache
import data
import loop
import models
from config import Profile

EMPTY = 0.1  # share of empty captions, for classifier-free guidance
PAIRS = 0.75  # share of scenes with two things, of which the renders hold half: one thing is learned long before two
SNR_CAP = 5.0  # min-SNR weighting (Hang et al. 2023): nearly clean latents would take most of the training otherwise
NOISY_GAIN = 4.0  # which thing stands where, in which colour, is decided in noise where epsilon's error hardly shows it


def alphas_cumprod() -> Tensor:
    """`[1000]` for the scaled-linear schedule of models.SCHEDULER."""
    betas = torch.linspace(models.SCHEDULER["beta_start"] ** 0.5, models.SCHEDULER["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def train(p: Profile, work: Path, folder: Path, deadline: float, start: Path | None = None) -> None:
    torch.manual_seed(p.seed + 2)
    model = models.unet(p)
    if start:
        models.warm_start(model, start, "unet")
    model = model.to(p.device)
    if p.compile:
        model.compile()
    if p.device == "cpu":
        model.set_attn_processor(AttnProcessor())  # PyTorch's fused attention has a slow backward in bf16 on CPUs (1.7x here)
    latents, text = (data.resident(part, p.device) for part in cache.load(work / "cache"))
    alphas = alphas_cumprod().to(p.device)
    two = data.two_things(p)
    pairs, singles = np.flatnonzero(two), np.flatnonzero(~two)
    generator = torch.Generator(p.device)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        count = rng.binomial(p.unet_batch, PAIRS)
        rows = np.concatenate([some[rng.choice(len(some), of_them, replace=False)] for some, of_them in ((pairs, count), (singles, p.unet_batch - count))])
        says = np.where(rng.random(len(rows)) < EMPTY, len(text) - 1, rows)
        x = latents[torch.from_numpy(rows)].float()  # [B, C, h, w]
        c = text[torch.from_numpy(says)].view(torch.bfloat16)  # [B, 77, D]
        c = c if p.bf16 else c.float()
        generator.manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(x.shape, generator=generator, device=p.device)
        # Timesteps in equal strata: less variance per batch than independent draws.
        t = torch.from_numpy(((np.arange(len(rows)) + rng.random(len(rows))) / len(rows) * 1000).astype(np.int64)).to(p.device)
        t = t[torch.from_numpy(rng.permutation(len(rows))).to(p.device)]
        a = alphas[t][:, None, None, None]
        with p.autocast():
            predicted = model(a.sqrt() * x + (1 - a).sqrt() * noise, t, c).sample
        snr = a / (1 - a)
        weight = snr.clamp(max=SNR_CAP) / snr * snr.rsqrt().clamp(1, NOISY_GAIN)
        return ((predicted.float() - noise).square() * weight).mean()

    loop.train("unet", model, loss_of, folder=folder, steps=p.unet_steps, rate=p.unet_rate, seed=p.seed + 2, deadline=deadline,
               decay=0.998, matrices="muon")


def load(p: Profile, folder: Path) -> UNet2DConditionModel:
    """The averaged UNet."""
    model = models.unet(p)
    model.load_state_dict(loop.averaged(folder))
    return model.eval()
