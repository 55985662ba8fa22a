"""Rendered scenes on disk: pictures `[N, size, size, 3]` uint8 and the captions of each."""
from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np

import scene
import sprites
import world
from config import Profile
from render import Renderer

CAPTIONS = 4  # ways of saying one scene; the UNet's first one may hold a distractor


def build(p: Profile, packed: Path, folder: Path) -> None:
    """Renders the training scenes once; later stages only read them."""
    if (folder / "captions.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(sprites.load(packed), p.size)
    pictures = np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, (p.scenes, p.size, p.size, 3))
    captions = []
    for i in range(p.scenes):
        rng = Random(f"{p.seed}-{i}")
        what = scene.sample(rng, world.WORLDS[p.world])
        pictures[i] = renderer.draw(rng, what)
        captions.append([scene.caption(rng, what, distract=0.12)] + [scene.caption(rng, what) for _ in range(CAPTIONS - 1)])
    pictures.flush()
    (folder / "captions.json").write_text(json.dumps(captions))


def pictures(folder: Path) -> np.ndarray:
    return np.load(folder / "pictures.npy", mmap_mode="r")


def captions(folder: Path) -> list[list[str]]:
    return json.loads((folder / "captions.json").read_text())


def to_model(batch: np.ndarray):
    """`[B, H, W, 3]` uint8 -> `[B, 3, H, W]` float in [-1, 1]."""
    import torch
    return torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
