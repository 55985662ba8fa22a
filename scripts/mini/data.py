"""Rendered scenes on disk: pictures `[N, size, size, 3]` uint8 and the captions of each."""
from __future__ import annotations

import json
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch

import scene
import sprites
import world
from config import Profile
from render import Renderer

DISTRACT = 0.18  # share of nouns with a rare token before them, in the captions that the UNet is trained on
CAPTIONS = 4  # ways of saying one scene; the UNet's first one may hold a distractor


def build(p: Profile, packed: Path, folder: Path) -> None:
    """Renders the training scenes once; later stages only read them. Each scene depends on its own number alone."""
    if (folder / "captions.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, (p.scenes, p.size, p.size, 3)).flush()
    parts = [range(start, min(start + 500, p.scenes)) for start in range(0, p.scenes, 500)]
    with ProcessPoolExecutor(p.threads) as pool:
        captions = [says for part in pool.map(partial(_render, p, packed, folder), parts) for says in part]
    (folder / "captions.json").write_text(json.dumps(captions))


def _render(p: Profile, packed: Path, folder: Path, rows: range) -> list[list[str]]:
    renderer = Renderer(sprites.load(packed), p.size, p.loose)
    pictures = np.load(folder / "pictures.npy", mmap_mode="r+")
    captions = []
    for row in rows:
        what = scene.of_row(p, row)
        pictures[row] = renderer.draw(Random(f"{p.seed}-{row} picture"), what)
        rng = Random(f"{p.seed}-{row} captions")
        captions.append([scene.caption(rng, what, distract=DISTRACT)] + [scene.caption(rng, what) for _ in range(CAPTIONS - 1)])
    return captions


def two_things(p: Profile) -> np.ndarray:
    """`[N]`, whether a scene holds two things or more."""
    return np.array([len(scene.of_row(p, row).things) > 1 for row in range(p.scenes)])


def pictures(folder: Path) -> np.ndarray:
    return np.load(folder / "pictures.npy", mmap_mode="r")


def resident(array: np.ndarray, device: str) -> torch.Tensor:
    """Training data as a tensor to index: on a GPU all of it, on a CPU still the mapped file."""
    with warnings.catch_warnings(action="ignore"):  # the file cannot be written to; nobody does
        return torch.from_numpy(array).to(device)


def captions(folder: Path) -> list[list[str]]:
    return json.loads((folder / "captions.json").read_text())


def to_model(batch: np.ndarray | torch.Tensor) -> torch.Tensor:
    """`[B, H, W, 3]` uint8 -> `[B, 3, H, W]` float in [-1, 1]."""
    return torch.as_tensor(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
