"""A second round for the decoder alone, with the encoder (and so the cached latents) as it is.

The latents are disturbed a little, as the UNet's are, so that the decoder draws clean pictures of not quite exact latents.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

import cache
import data
import loop
import models
import train_vae
from config import Profile

DISTURBANCE = 0.1  # largest deviation of the noise on latents, which have deviation 1


class Decoder(nn.Module):
    """Scaled latents `[B, C, h, w]` -> pictures `[B, 3, H, W]`."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents / models.SCALING_FACTOR))


def train(p: Profile, work: Path, folder: Path, deadline: float) -> None:
    torch.manual_seed(p.seed + 4)
    model = Decoder(train_vae.load(p, work / "scenes", work / "vae")).to(p.device)
    latents, pictures = cache.load(work / "cache")[0], data.resident(data.pictures(work / "scenes"), p.device)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.choice(len(pictures), p.vae_batch, replace=False))
        x = data.to_model(pictures[torch.from_numpy(rows)])
        z = latents[rows].astype(np.float32)
        z += rng.standard_normal(z.shape, np.float32) * rng.uniform(0, DISTURBANCE, (len(z), 1, 1, 1)).astype(np.float32)
        with p.autocast():
            y = model(torch.from_numpy(z).to(p.device)).float()
        return train_vae.picture_loss(y, x)

    loop.train("decoder", model, loss_of, folder=folder, steps=p.decoder_steps, rate=1e-3, seed=p.seed + 4, deadline=deadline,
               decay=0.995, matrices="muon")


def load(p: Profile, work: Path) -> AutoencoderKL:
    """The autoencoder, with the decoder of the second round where there has been one."""
    vae = train_vae.load(p, work / "scenes", work / "vae")
    if (work / "decoder" / "info.json").exists():
        Decoder(vae).load_state_dict(loop.averaged(work / "decoder"))
    return vae
