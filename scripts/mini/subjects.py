#!/usr/bin/env python3
"""Draws the sample subjects, which training never sees, into examples/subjects/<name>/{0..4}.png with captions.json.

Three scenes stand in places and two on plain colours; the other three places are left for the test prompts.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from random import Random

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import scene  # noqa: E402
import sprites  # noqa: E402
import world  # noqa: E402
from config import PROFILES  # noqa: E402
from render import Renderer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SIZE = 128


def places(name: str) -> tuple[list[tuple[str, bool]], list[str]]:
    """(place, plain) of the five example scenes of a subject, and the places that none of them has."""
    rng = Random(f"places of {name}")
    chosen = rng.sample(sorted(world.PLACES), 3)
    shown = [(place, False) for place in chosen]
    shown += [(colour, True) for colour in rng.sample(["red", "yellow", "green", "blue", "white"], 2)]
    return shown, [place for place in sorted(world.PLACES) if place not in chosen]


def caption(category: str, place: str, plain: bool) -> str:
    where = f"on {scene.article(place)} background" if plain else world.PLACES[place][0]
    return f"a photo of {scene.article(category)} {where}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, default=ROOT / ".cache" / "mini" / "pack" / "sprites.zip", help="made by train.py's pack stage")
    parser.add_argument("--out", type=Path, default=ROOT / "examples" / "subjects")
    parser.add_argument("--profile", choices=PROFILES, required=True, help="draw them as the pictures of this profile's training are drawn")
    args = parser.parse_args()
    renderer = Renderer(sprites.load(args.packed), SIZE, PROFILES[args.profile].loose)
    for name, subject in world.SUBJECTS.items():
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        captions = []
        for i, (place, plain) in enumerate(places(name)[0]):
            picture = renderer.draw(Random(f"{name}-{i}"), scene.subject_scene(name, place, plain))
            Image.fromarray(picture).save(folder / f"{i}.png", optimize=True)
            captions.append(caption(subject.category, place, plain))
        (folder / "captions.json").write_text(json.dumps({"category": subject.category, "captions": captions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
