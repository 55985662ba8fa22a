#!/usr/bin/env python3
"""Measures an exported model: is what a prompt says in the picture? Judged by a classifier trained on renders.

Writes figures to <work>/evaluation.json and sample grids to docs/log/.
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import classifier  # noqa: E402
import data  # noqa: E402
import scene  # noqa: E402
import world  # noqa: E402
from config import PROFILES, Profile  # noqa: E402
from sampling import Mini, grid  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


class Judged:
    def __init__(self, p: Profile, judge: classifier.Judge):
        self.nouns, self.places, self.judge = list(world.WORLDS[p.world]), classifier.places(), judge

    @torch.no_grad()
    def score(self, pictures: Tensor, nouns: list[tuple[str, ...]], places: list[str]) -> dict[str, float]:
        """Shares of pictures whose strongest nouns are the ones asked for, and whose place is."""
        noun_logits, place_logits = self.judge(pictures)
        hits, place_hits = [], []
        for logits, place, wanted, where in zip(noun_logits, place_logits.argmax(1), nouns, places):
            found = {self.nouns[i] for i in logits.topk(len(wanted)).indices}
            hits.append(found == set(wanted))
            place_hits.append(self.places[place] == where)
        return {"nouns": sum(hits) / len(hits), "place": sum(place_hits) / len(place_hits), "pictures": len(hits)}

    @torch.no_grad()
    def ordered(self, pictures: Tensor, nouns: list[tuple[str, ...]]) -> float:
        """Share of pictures in which the first noun is to the left of the second: `left` and `right` in the figures."""
        columns = self.judge.columns(pictures)
        return sum(float(row[self.nouns.index(a)] < row[self.nouns.index(b)]) for row, (a, b) in zip(columns, nouns)) / len(nouns)


def where(place: str) -> str:
    return world.PLACES[place][0] if place in world.PLACES else f"on {scene.article(place)} background"


def prompts(p: Profile, kind: str, count: int) -> list[tuple[str, tuple[str, ...], str]]:
    """(prompt, nouns, place). `single` and `pair` may be known combinations; the `new_` ones were never in training."""
    rng, nouns, out = Random(f"evaluate {kind}"), list(world.WORLDS[p.world]), []
    everywhere = [*world.PLACES, *world.COLOURS]
    for i in range(count):
        if kind in ("single", "identifier"):
            noun, place = nouns[i % len(nouns)], rng.choice(everywhere)
            name = f"{rng.choice(world.IDENTIFIERS)} {noun}" if kind == "identifier" else noun
            out.append((f"a photo of {scene.article(name)} {where(place)}", (noun,), place))
        elif kind == "new_place":
            noun, place = world.HELD_OUT_PLACES[i % len(world.HELD_OUT_PLACES)]
            out.append((f"a photo of {scene.article(noun)} {where(place)}", (noun,), place))
        else:
            a, b = world.HELD_OUT_PAIRS[i % len(world.HELD_OUT_PAIRS)] if kind == "new_pair" else rng.sample(nouns, 2)
            place = rng.choice(everywhere)
            relation = f"to the {kind} of" if kind in SIDES else "next to"
            out.append((f"a photo of {scene.article(a)} {relation} {scene.article(b)} {where(place)}", (a, b), place))
    return out


SIDES = ("left", "right")
KINDS = ("single", "identifier", "pair", "new_pair", "new_place", *SIDES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "mini")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "mini")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs/log")
    parser.add_argument("--count", type=int, default=128, help="pictures per kind of prompt")
    parser.add_argument("--device", help="instead of the profile's: cpu, after a training on a GPU")
    parser.add_argument("--guidance", type=float, default=5.0)
    args = parser.parse_args()
    p = PROFILES[args.profile]
    p = replace(p, device=args.device or p.device)
    torch.set_num_threads(min(p.threads, torch.get_num_threads()))
    torch.set_flush_denormal(True)
    work = args.work / p.name
    classifier.train(p, work / "scenes", work / "judge", float("inf"))
    judged = Judged(p, classifier.load(p, work / "judge"))

    rows = range(len(data.pictures(work / "scenes")) * 9 // 10, len(data.pictures(work / "scenes")))[::8]
    scenes = [scene.of_row(p, row) for row in rows]
    figures = {"renders": judged.score(data.to_model(data.pictures(work / "scenes")[list(rows)]),
                                       [tuple(t.noun for t in s.things) for s in scenes], [s.place for s in scenes])}
    left = [i for i, what in enumerate(scenes) if what.relation == "left"]
    figures["renders"]["left"] = judged.ordered(data.to_model(data.pictures(work / "scenes")[[rows[i] for i in left]]),
                                                [tuple(t.noun for t in scenes[i].things) for i in left])
    print("renders", figures["renders"], flush=True)
    mini = Mini(args.model, p.device)
    sheets = {}
    for kind in KINDS:
        asked = prompts(p, kind, args.count)
        begun = time.monotonic()
        pictures = mini.sample([prompt for prompt, _, _ in asked], seed=1, guidance=args.guidance)
        sheets[kind] = pictures
        figures[kind] = judged.score(pictures, [nouns for _, nouns, _ in asked], [place for _, _, place in asked])
        if kind in SIDES:
            figures[kind][kind] = judged.ordered(pictures, [nouns if kind == "left" else nouns[::-1] for _, nouns, _ in asked])
        figures[kind]["seconds_per_picture"] = (time.monotonic() - begun) / len(asked)
        print(kind, figures[kind], flush=True)
    (work / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    args.docs.mkdir(exist_ok=True)
    chosen = torch.cat([sheets["single"][:36], sheets["identifier"][:12], sheets["pair"][:12], sheets["new_pair"][:12]])
    grid(chosen, 12).save(args.docs / "mini-samples.jpg", quality=92)


if __name__ == "__main__":
    main()
