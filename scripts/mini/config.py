"""The two profiles: `gpu` is the model that ships; `cpu` is the best that one CPU thread trains in an hour and three quarters."""
from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Profile:
    name: str
    world: str
    """A key of world.WORLDS."""
    size: int
    """Picture height and width in pixels; latents are an eighth of it."""
    loose: bool
    """Whether positions, sizes and tilts vary freely (see render.Renderer)."""
    rich: bool
    """Whether scenes have up to four things, things in baskets and buckets, and styles."""
    seed: int
    scenes: int
    """Rendered scenes that everything is trained on."""
    # Autoencoder
    latent_channels: int
    vae_channels: tuple[int, int, int, int]
    vae_steps: int
    vae_batch: int
    decoder_steps: int
    # CLIP pair; the text width is also the UNet's cross_attention_dim
    text_width: int
    text_layers: int
    text_mlp: int
    vision_width: int
    vision_layers: int
    vision_patch: int
    clip_steps: int
    clip_batch: int
    # UNet
    unet_channels: tuple[int, ...]
    unet_layers: int
    unet_head_dim: int
    unet_steps: int
    unet_batch: int
    unet_rate: float
    device: str
    threads: int
    bf16: bool = True
    """Whether networks run under bf16 autocast: twice as fast on GPUs and on CPUs with matrix units, half as fast on others."""

    compile: bool = False
    """Whether the UNet's training step is compiled, which takes a minute first."""

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)

    @property
    def latent_size(self) -> int:
        return self.size // 8


PROFILES = {
    "cpu": Profile(
        name="cpu", world="core", size=64, loose=False, rich=False, seed=20230723, scenes=40_000,
        latent_channels=8, vae_channels=(24, 48, 96, 96), vae_steps=3_500, vae_batch=16, decoder_steps=1_150,
        text_width=576, text_layers=2, text_mlp=384, vision_width=192, vision_layers=4, vision_patch=8,
        clip_steps=900, clip_batch=96,
        unet_channels=(112, 160), unet_layers=2, unet_head_dim=16, unet_steps=7_500, unet_batch=32, unet_rate=1e-3,
        device="cpu", threads=1),
    "gpu": Profile(
        name="gpu", world="full", size=128, loose=True, rich=True, seed=20230723, scenes=160_000,
        latent_channels=4, vae_channels=(24, 48, 96, 96), vae_steps=3_000, vae_batch=64, decoder_steps=1_500,
        text_width=576, text_layers=2, text_mlp=384, vision_width=192, vision_layers=4, vision_patch=16,
        clip_steps=2_500, clip_batch=256,
        unet_channels=(112, 160), unet_layers=2, unet_head_dim=16, unet_steps=8_000, unet_batch=512, unet_rate=1.3e-3,
        device="cuda", threads=16, compile=True),
}
