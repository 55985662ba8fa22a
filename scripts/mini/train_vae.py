"""The autoencoder: 8x down, as in Stable Diffusion, without the adversarial and perceptual losses."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

import data
import loop
import models
from config import Profile


def picture_loss(y: Tensor, x: Tensor) -> Tensor:
    """L1 of pixels and of edges `[B, 3, H, W]`: pixels alone blur the small marks by which sprites are told apart."""
    edges = F.l1_loss(y.diff(dim=2), x.diff(dim=2)) + F.l1_loss(y.diff(dim=3), x.diff(dim=3))
    return F.l1_loss(y, x) + 0.5 * edges


class Reconstruction(torch.nn.Module):
    """Loss of a batch of pictures `[B, 3, H, W]` in [-1, 1]."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        moments = self.vae.quant_conv(self.vae.encoder(x)).float()
        mean, logvar = moments.chunk(2, dim=1)
        logvar = logvar.clamp(-20, 10)
        z = mean + noise * torch.exp(0.5 * logvar)
        y = self.vae.decoder(self.vae.post_quant_conv(z)).float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return picture_loss(y, x) + 1e-4 * kl


def train(p: Profile, scenes: Path, folder: Path, deadline: float, start: Path | None = None) -> None:
    torch.manual_seed(p.seed)
    vae = models.vae(p)
    if start:
        models.warm_start(vae, start, "vae")
    model = Reconstruction(vae).to(p.device, memory_format=torch.channels_last)
    pictures = data.resident(data.pictures(scenes), p.device)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.choice(len(pictures), p.vae_batch, replace=False))
        x = data.to_model(pictures[torch.from_numpy(rows)]).to(memory_format=torch.channels_last)
        noise = torch.from_numpy(rng.standard_normal((len(x), p.latent_channels, p.latent_size, p.latent_size), np.float32)).to(p.device)
        with p.autocast():
            return model(x, noise)

    loop.train("vae", model, loss_of, folder=folder, steps=p.vae_steps, rate=1.5e-3, seed=p.seed, deadline=deadline, decay=0.995,
               matrices="muon")


@torch.no_grad()
def load(p: Profile, scenes: Path, folder: Path) -> AutoencoderKL:
    """The averaged autoencoder, its latents' mean and deviation folded into the 1x1 convolutions at its waist.

    After it `scaling_factor * latents` has mean 0 and deviation 1 in every channel, with Stable Diffusion's factor.
    """
    vae = models.vae(p)
    vae.load_state_dict({k.removeprefix("vae."): v for k, v in loop.averaged(folder).items()})
    vae.eval()
    pictures = data.pictures(scenes)
    rows = np.linspace(0, len(pictures) - 1, 512).astype(int)
    latents = torch.cat([vae.encode(data.to_model(pictures[part])).latent_dist.mean for part in np.split(rows, 16)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    scale = 1 / (std * models.SCALING_FACTOR)  # [C]; z' = (z - mean) * scale
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:p.latent_channels] *= scale[:, None, None, None]
    quant.bias[:p.latent_channels] = (quant.bias[:p.latent_channels] - mean) * scale
    quant.bias[p.latent_channels:] += 2 * scale.log()
    post.bias += (post.weight[:, :, 0, 0] @ mean)
    post.weight /= scale[None, :, None, None]
    return vae
