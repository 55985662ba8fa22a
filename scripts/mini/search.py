"""The paper's search for concept neurons in PyTorch (Algorithm A2), to measure what this model allows.

It is the yardstick for the engine's defaults, not the engine: no speed was sought.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

import models
from sampling import Mini
from train_unet import alphas_cumprod


@dataclass
class Examples:
    """Latents `[N, C, h, w]` and the text states `[N, 77, D]` of their captions."""
    latents: Tensor
    text: Tensor


@dataclass(frozen=True)
class Settings:
    steps: int = 300
    rate: float = 6e-5
    batch: int = 8
    """Subject pictures per step, and as many prior pictures."""
    prior: float = 1.0
    """Lambda of Eq. 4."""
    timesteps: tuple[int, int] = (0, 1000)
    tune: bool = False
    """Fine-tune all K-V weights instead (the ceiling that masks are compared with)."""
    layers: str = "all"
    """`all`, `self` (attn1) or `cross` (attn2)."""


def noise_loss(mini: Mini, weights: dict[str, Tensor], latents: Tensor, text: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise (Eq. 1), per row `[B]`."""
    a = alphas_cumprod()[t][:, None, None, None]
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    with mini.autocast():
        predicted = functional_call(mini.unet, weights, (noisy, t, text)).sample
    return (predicted.float() - noise).square().mean((1, 2, 3))


def search(mini: Mini, subject: Examples, prior: Examples, settings: Settings, seed: int = 0) -> dict[str, Tensor]:
    """Displacement `1 - xi` of every K-V weight after K steps, or with `tune` the tuned weights themselves."""
    named = dict(mini.unet.named_parameters())
    part = {"all": "", "self": "attn1", "cross": "attn2"}[settings.layers]
    theta = {name: named[name].detach() for name in models.kv_names(mini.unet) if part in name}
    variable = {name: (w.clone() if settings.tune else torch.ones_like(w)).requires_grad_() for name, w in theta.items()}
    optimizer = torch.optim.Adam(variable.values(), lr=settings.rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.steps):
        weights = variable if settings.tune else {name: variable[name] * theta[name] for name in theta}
        own, kept = (torch.randint(len(e.latents), (settings.batch,), generator=generator) for e in (subject, prior))
        latents = torch.cat([subject.latents[own], prior.latents[kept]])
        text = torch.cat([subject.text[own], prior.text[kept]])
        t = torch.randint(*settings.timesteps, (len(latents),), generator=generator)
        losses = noise_loss(mini, weights, latents, text, t, torch.randn(latents.shape, generator=generator))
        optimizer.zero_grad()
        (losses[:settings.batch].mean() + settings.prior * losses[settings.batch:].mean()).backward()
        optimizer.step()
    return {name: v.detach() if settings.tune else 1 - v.detach() for name, v in variable.items()}


def shut(mini: Mini, displacement: dict[str, Tensor], density: float) -> dict[str, Tensor]:
    """K-V weights with the most displaced share set to zero. Density counts all K-V weights of the model."""
    named = dict(mini.unet.named_parameters())
    total = sum(named[name].numel() for name in models.kv_names(mini.unet))
    threshold = torch.cat([d.flatten() for d in displacement.values()]).topk(max(1, round(density * total))).values[-1]
    return {name: named[name].detach() * (d < threshold) for name, d in displacement.items()}


def shut_random(mini: Mini, density: float, seed: int = 0) -> dict[str, Tensor]:
    named = dict(mini.unet.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    return {name: named[name].detach() * (torch.rand(named[name].shape, generator=generator) >= density)
            for name in models.kv_names(mini.unet)}


@torch.no_grad()
def held_out_loss(mini: Mini, weights: dict[str, Tensor], examples: Examples, draws: int = 8, seed: int = 99) -> float:
    """Loss on fixed noise and evenly spread timesteps, the same for every caller."""
    generator = torch.Generator().manual_seed(seed)
    losses, count = [], len(examples.latents)
    for draw in range(draws):
        t = torch.arange(count) * 1000 // count + draw * 1000 // (draws * count)
        t = t[torch.randperm(count, generator=generator)]
        noise = torch.randn(examples.latents.shape, generator=generator)
        losses.append(noise_loss(mini, weights, examples.latents, examples.text, t, noise).mean().item())
    return sum(losses) / len(losses)
