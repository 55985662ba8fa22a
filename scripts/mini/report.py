#!/usr/bin/env python3
"""Searches concept neurons for held-out subjects and measures whether they show: losses, likeness, and what else changes.

Per subject one JSON and one grid in <work>/subjects/. Grid rows: the subject's own pictures; then with the identifier,
with the bare category, and with another category, each for the untouched model and for every density.
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPModel

sys.path.insert(0, str(Path(__file__).parent))
import classifier  # noqa: E402
import data  # noqa: E402
import scene  # noqa: E402
import sprites  # noqa: E402
import subjects  # noqa: E402
import world  # noqa: E402
from config import PROFILES  # noqa: E402
from evaluate import Judged  # noqa: E402
from render import Renderer  # noqa: E402
from sampling import Mini, grid  # noqa: E402
from search import Examples, Settings, held_out_loss, search, shut, shut_random  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


class Likeness:
    """Nearest subject in mini-clip's picture space."""

    def __init__(self, clip: CLIPModel, size: int):
        self.clip, self.names = clip, list(world.SUBJECTS)
        own = [self.embed(load_pictures(name, size)).mean(0) for name in self.names]
        self.own = F.normalize(torch.stack(own), dim=-1)  # [subjects, D]

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        out = self.clip.vision_model(pixel_values=pictures).pooler_output
        return F.normalize(self.clip.visual_projection(out), dim=-1)

    def measure(self, pictures: Tensor, name: str) -> dict[str, float]:
        """`alignment`: mean cosine with the subject; `nearest`: share of pictures whose nearest subject it is."""
        cosines = self.embed(pictures) @ self.own.T
        index = self.names.index(name)
        return {"alignment": cosines[:, index].mean().item(), "nearest": (cosines.argmax(1) == index).float().mean().item()}


def load_pictures(name: str, size: int) -> Tensor:
    """A subject's example pictures `[5, 3, size, size]`."""
    folder = ROOT / "examples" / "subjects" / name
    pictures = [Image.open(folder / f"{i}.png").convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for i in range(5)]
    return data.to_model(np.stack([np.asarray(picture) for picture in pictures]))


def rendered(mini: Mini, renderer: Renderer, thing: scene.Thing, places: list[str], identifier: str | None, count: int) -> tuple[Tensor, list[str]]:
    """Latents of fresh renders of one thing in the given places, with captions, to measure the loss on."""
    pictures, captions = [], []
    for i in range(count):
        what = scene.Scene((thing,), None, places[i % len(places)], False)
        pictures.append(renderer.draw(Random(f"{thing.sprite} held out {i}"), what))
        says = subjects.caption(thing.noun, what.place, False)
        captions.append(scene.with_identifier(says, thing.noun, identifier) if identifier else says)
    return mini.encode_pictures(data.to_model(np.stack(pictures))), captions


@dataclass(frozen=True)
class Mask:
    """A concept of the engine's: a file of `npm run mini:report -- --concepts`."""
    token: str
    embedding: Tensor | None
    weights: dict[str, Tensor]
    """With its neurons shut."""

    @staticmethod
    def read(mini: Mini, file: Path) -> Mask:
        found = json.loads(file.read_text())
        named, weights = dict(mini.unet.named_parameters()), {}
        for name, indices in found["neurons"].items():
            weights[name] = named[name].detach().clone()
            weights[name].view(-1)[indices] = 0
        return Mask(found["token"], None if found["embedding"] is None else torch.tensor(found["embedding"]), weights)


def examine(name: str, mini: Mini, likeness: Likeness, judged: Judged, renderer: Renderer, settings: Settings,
            densities: list[float], out: Path, guidance: float, tune_rate: float | None, mask: Mask | None) -> dict:
    subject, size = world.SUBJECTS[name], renderer.size
    category, free = subject.category, subjects.places(name)[1]
    identifier = mask.token if mask else world.IDENTIFIERS[0]
    other = "tree" if category != "tree" else "house"  # as in scripts/mini-report

    # The search's input: five pictures, and prior pictures that the model itself draws (paper section 3.1).
    said = json.loads((ROOT / "examples" / "subjects" / name / "captions.json").read_text())["captions"]
    said = [scene.with_identifier(caption, category, identifier) for caption in said]
    pictures = load_pictures(name, size)
    own = Examples(mini.encode_pictures(pictures), mini.encode_prompts(said))
    asked = [subjects.caption(category, place, place in world.COLOURS) for place in [*world.PLACES, *list(world.COLOURS)[:6]]] * 4
    prior = Examples(mini.sample_latents(asked, seed=5, guidance=3.0), mini.encode_prompts(asked))

    begun = time.monotonic()
    displacement = search(mini, own, prior, settings) if densities else None
    seconds = time.monotonic() - begun

    fresh = rendered(mini, renderer, scene.Thing(category, name), free, identifier, 12)
    kept = rendered(mini, renderer, scene.Thing(category, world.CORE_NOUNS[category].sprites[0]), free, None, 12)
    variants: dict[str, dict[str, Tensor]] = {"untouched": {}}
    embeddings: dict[str, Tensor | None] = {}
    variants |= {f"{density:.2%}": shut(mini, displacement, density) for density in densities}
    if densities:
        variants["random " + f"{densities[-1]:.2%}"] = shut_random(mini, densities[-1])
    if tune_rate:
        variants["tuned"] = search(mini, own, prior, Settings(steps=settings.steps, batch=settings.batch, rate=tune_rate, tune=True))

    if mask:
        variants["mask"], embeddings["mask"] = mask.weights, mask.embedding

    result = {"subject": name, "category": category, "settings": asdict(settings), "search_seconds": seconds, "variants": {}}
    rows = [pictures.repeat(3, 1, 1, 1)[:12]]
    base: dict[str, Tensor] = {}
    for label, weights in variants.items():
        with mini.learned(identifier, embeddings.get(label)):
            row: dict = {f"{kind}_loss": held_out_loss(mini, weights, Examples(latents, mini.encode_prompts(captions)))
                         for kind, (latents, captions) in (("subject", fresh), ("prior", kept))}
        for kind, noun, phrase in (("identifier", category, f"{identifier} {category}"), ("category", category, category), ("other", other, other)):
            prompts = [subjects.caption(phrase, place, False) for place in free] * 4
            with mini.learned(identifier, embeddings.get(label)):
                drawn = mini.sample(prompts, seed=7, guidance=guidance, weights=weights)
            base.setdefault(kind, drawn)
            row[kind] = {**likeness.measure(drawn, name), **judged.score(drawn, [(noun,)] * 12, free * 4),
                         "change": (drawn - base[kind]).abs().mean().item()}
            rows.append(drawn)
        result["variants"][label] = row
        print(f"{name:15} {label:13} loss {row['subject_loss']:.4f}/{row['prior_loss']:.4f} " + " ".join(
            f"{k[:5]} near {row[k]['nearest']:.2f} al {row[k]['alignment']:.3f} noun {row[k]['nouns']:.2f} place {row[k]['place']:.2f} ch {row[k]['change']:.3f};"
            for k in ("identifier", "category", "other")), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    grid(torch.cat(rows), 12).save(out / f"{name}.png", optimize=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "mini")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--subjects", nargs="+", default=list(world.SUBJECTS)[:12], choices=list(world.SUBJECTS))
    parser.add_argument("--densities", nargs="*", type=float, default=[0.0025, 0.005, 0.01, 0.02, 0.04, 0.08], help="none: no search")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=6e-5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prior", type=float, default=1.0)
    parser.add_argument("--timesteps", nargs=2, type=int, default=[0, 1000])
    parser.add_argument("--layers", choices=["all", "self", "cross"], default="all")
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--tune-rate", type=float, help="also fine-tune all K-V weights at this rate, as the ceiling")
    parser.add_argument("--masks", type=Path, help="folder of `npm run mini:report -- --concepts`: measure these masks, too")
    parser.add_argument("--out", type=Path, help="default: <work>/<profile>/subjects")
    args = parser.parse_args()
    p = PROFILES[args.profile]
    torch.set_num_threads(min(p.threads, torch.get_num_threads()))
    torch.set_flush_denormal(True)
    work = args.work / p.name
    mini = Mini(args.models / "mini")
    likeness = Likeness(CLIPModel.from_pretrained(args.models / "mini-clip", dtype=torch.float32).eval(), p.size)
    judged = Judged(p, classifier.load(p, work / "judge"))
    renderer = Renderer(sprites.load(args.work / "pack" / "sprites.zip"), p.size, p.loose)
    settings = Settings(args.steps, args.rate, args.batch, args.prior, tuple(args.timesteps), False, args.layers)
    for name in args.subjects:
        examine(name, mini, likeness, judged, renderer, settings, args.densities, args.out or work / "subjects", args.guidance, args.tune_rate,
                Mask.read(mini, args.masks / f"{name}.json") if args.masks else None)


if __name__ == "__main__":
    main()
