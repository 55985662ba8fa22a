"""What the UNet is trained on, computed once: latents `[N, C, h, w]` fp16 and text states `[N + 1, 77, D]` bf16.

The last text state is that of the empty caption. numpy has no bf16, so its bits are kept as int16.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import bpe
import data
import models
import train_clip
import train_vae
from config import Profile


def build(p: Profile, work: Path, tokenizer_dir: Path) -> None:
    folder = work / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    for part in (_text, _latents):
        done = folder / f"{part.__name__}.done"
        if not done.exists():
            part(p, work, tokenizer_dir, folder)
            done.touch()


@torch.no_grad()
def _text(p: Profile, work: Path, tokenizer_dir: Path, folder: Path) -> None:
    tokenizer = bpe.load(tokenizer_dir)
    text = models.text_tower(train_clip.load(p, tokenizer_dir, work / "clip")).eval().to(p.device)
    texts = [says[0] for says in data.captions(work / "scenes")] + [""]
    states = np.lib.format.open_memmap(folder / "text.npy", "w+", np.int16, (len(texts), 77, p.text_width))
    for start in range(0, len(texts), 64):
        ids = tokenizer(texts[start:start + 64], padding="max_length", max_length=77, return_tensors="pt").input_ids
        with p.autocast():
            state = text(ids.to(p.device)).last_hidden_state
        states[start:start + 64] = state.bfloat16().cpu().view(torch.int16).numpy()


@torch.no_grad()
def _latents(p: Profile, work: Path, tokenizer_dir: Path, folder: Path) -> None:
    pictures = data.pictures(work / "scenes")
    vae = train_vae.load(p, work / "scenes", work / "vae").to(p.device)
    latents = np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, (len(pictures), p.latent_channels, p.latent_size, p.latent_size))
    for start in range(0, len(pictures), 64):
        with p.autocast():
            mean = vae.encode(data.to_model(pictures[start:start + 64]).to(p.device)).latent_dist.mean
        latents[start:start + 64] = (mean.float() * models.SCALING_FACTOR).half().cpu().numpy()


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "latents.npy", mmap_mode="r"), np.load(folder / "text.npy", mmap_mode="r")
