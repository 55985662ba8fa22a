"""What the UNet is trained on, computed once: latents `[N, C, h, w]` fp16 and text states `[N + 1, 77, D]` bf16.

The last text state is that of the empty caption. numpy has no bf16, so its bits are kept as int16.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPModel, CLIPTextModel

import bpe
import data
import models
from config import Profile


def build(p: Profile, work: Path, tokenizer_dir: Path, load: Callable[[], tuple[CLIPModel, AutoencoderKL]]) -> None:
    folder = work / "cache"
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    clip, vae = load()
    _text(p, work, tokenizer_dir, folder, models.text_tower(clip).eval().to(p.device))
    _latents(p, work, folder, vae.eval().to(p.device))
    (folder / "done").touch()


@torch.no_grad()
def _text(p: Profile, work: Path, tokenizer_dir: Path, folder: Path, text: CLIPTextModel) -> None:
    tokenizer = bpe.load(tokenizer_dir)
    texts = [says[0] for says in data.captions(work / "scenes")] + [""]
    states = np.lib.format.open_memmap(folder / "text.npy", "w+", np.int16, (len(texts), 77, p.text_width))
    for start in range(0, len(texts), 64):
        ids = tokenizer(texts[start:start + 64], padding="max_length", max_length=77, return_tensors="pt").input_ids
        with p.autocast():
            state = text(ids.to(p.device)).last_hidden_state
        states[start:start + 64] = state.bfloat16().cpu().view(torch.int16).numpy()


@torch.no_grad()
def _latents(p: Profile, work: Path, folder: Path, vae: AutoencoderKL) -> None:
    pictures = data.pictures(work / "scenes")
    latents = np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, (len(pictures), p.latent_channels, p.latent_size, p.latent_size))
    for start in range(0, len(pictures), 64):
        with p.autocast():
            mean = vae.encode(data.to_model(torch.tensor(pictures[start:start + 64]).to(p.device))).latent_dist.mean
        latents[start:start + 64] = (mean.float() * models.SCALING_FACTOR).half().cpu().numpy()


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "latents.npy", mmap_mode="r"), np.load(folder / "text.npy", mmap_mode="r")
