"""A judge for generated pictures: which nouns, and which place. Trained on renders only, never on generated pictures."""
from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import data
import loop
import scene
import world
from config import Profile

STEPS = 2_800  # with 700 it knew one noun in twenty of the `gpu` profile's scenes
SIZE = 64  # pixels that it looks at


def places() -> list[str]:
    return [*world.PLACES, *world.COLOURS]


class Judge(nn.Module):
    """`[B, 3, H, W]` in [-1, 1] -> noun logits `[B, nouns]` (several may hold) and place logits `[B, places]`."""

    def __init__(self, nouns: int):
        super().__init__()
        widths = (3, 32, 64, 128, 192)
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        # The strongest position decides what is there; the mean over all of them where it is.
        self.noun, self.place = nn.Conv2d(widths[-1], nouns, 1), nn.Linear(widths[-1], len(places()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self._features(x)
        return self.noun(x).logsumexp((2, 3)) - 2.0, self.place(x.mean((2, 3)))

    def columns(self, x: Tensor) -> Tensor:
        """How far to the right each noun is, if it is there: 0 to 1, `[B, nouns]`."""
        logits = self.noun(self._features(x))  # [B, nouns, h, w]
        weights = logits.flatten(2).softmax(-1).view_as(logits).sum(2)
        return weights @ torch.linspace(0, 1, weights.shape[-1])

    def _features(self, x: Tensor) -> Tensor:
        return self.body(_small(x))


def _small(x: Tensor) -> Tensor:
    return F.interpolate(x, (SIZE, SIZE), mode="area") if x.shape[-1] != SIZE else x


def labels(p: Profile, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """The nouns `[B, nouns]` and place `[B]` of rendered scenes, read off their seeds."""
    nouns = list(world.WORLDS[p.world])
    target, place = torch.zeros(len(rows), len(nouns)), torch.zeros(len(rows), dtype=torch.long)
    for i, row in enumerate(rows):
        what = scene.of_row(p, row)
        for thing in what.things:
            target[i, nouns.index(thing.noun)] = 1
        place[i] = places().index(what.place)
    return target, place


def train(p: Profile, scenes: Path, folder: Path, deadline: float) -> None:
    torch.manual_seed(p.seed + 3)
    model = Judge(len(world.WORLDS[p.world])).to(p.device)
    pictures = data.pictures(scenes)[: len(data.pictures(scenes)) * 9 // 10]  # the last tenth tests the judge

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.choice(len(pictures), 64, replace=False))
        x = _small(data.to_model(pictures[rows]))
        # Noise and blur, so that it looks at shapes rather than at crisp edges that no generated picture has.
        x = x + torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * rng.uniform(0, 0.15)
        if rng.random() < 0.5:
            x = F.avg_pool2d(x, 3, 1, 1)
        target, place = (part.to(p.device) for part in labels(p, rows))
        noun_logits, place_logits = model(x.to(p.device))
        return F.binary_cross_entropy_with_logits(noun_logits, target) * 10 + F.cross_entropy(place_logits, place)

    loop.train("judge", model, loss_of, folder=folder, steps=STEPS, rate=2e-3, seed=p.seed + 3, deadline=deadline, decay=0.98)


def load(p: Profile, folder: Path) -> Judge:
    model = Judge(len(world.WORLDS[p.world]))
    model.load_state_dict(loop.averaged(folder))
    return model.eval()
