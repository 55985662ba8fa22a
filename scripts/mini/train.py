#!/usr/bin/env python3
"""Trains models/mini from nothing: `python scripts/mini/train.py --profile gpu --sprites FOLDER --clip-bpe FOLDER`.

Stages: pack (sprites, vocabulary) -> scenes -> vae -> clip -> cache -> decoder -> unet -> export. Each keeps its result in the work
folder and is skipped when it is done, so the same command goes on where it was cut off; `--minutes 9` ends it in time
(exit status 3 means: call again). A machine without the source data needs only the work folder's `pack/` (under 2 MB).
"""
from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPModel

sys.path.insert(0, str(Path(__file__).parent))
import bpe  # noqa: E402
import data  # noqa: E402
import loop  # noqa: E402
import rare_tokens  # noqa: E402
import sprites  # noqa: E402
from config import PROFILES  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("pack", "scenes", "vae", "clip", "cache", "decoder", "unet", "export")


def _steps(text: str) -> dict[str, int]:
    """"vae=1800,clip=300" -> fields of Profile"""
    return {f"{stage}_steps": int(count) for stage, count in (part.split("=") for part in text.split(","))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, required=True)
    parser.add_argument("--sprites", type=Path, help="folder of <hexcode>.webp sprites (only the pack stage needs it)")
    parser.add_argument("--clip-bpe", type=Path, help="folder with CLIP's vocab.json and merges.txt (only the pack stage needs it)")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "mini", help="where stages keep their results")
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="mini/ and mini-clip/ are written here")
    parser.add_argument("--until", choices=STAGES, default="export", help="last stage to run")
    parser.add_argument("--only", choices=STAGES, help="run this stage alone, on whatever the earlier ones have left so far")
    parser.add_argument("--start-from", type=Path, help="folder of an earlier result (such as models): training goes on from its weights")
    parser.add_argument("--keep", nargs="+", choices=("vae", "clip"), default=[], help="leave these of --start-from as they are, and train only the others further")
    parser.add_argument("--fp32", action="store_true", help="no bf16 autocast, which is slower than fp32 on CPUs without matrix units")
    parser.add_argument("--threads", type=int, help="instead of the profile's")
    parser.add_argument("--steps", type=_steps, default={}, metavar="STAGE=N,...", help="instead of the profile's, as in vae=1800,clip=300")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this long; call again to go on")
    args = parser.parse_args()

    if args.keep and not args.start_from:
        parser.error("--keep needs --start-from: the folder whose models are kept")

    p = PROFILES[args.profile]
    p = replace(p, bf16=p.bf16 and not args.fp32, threads=args.threads or p.threads, **args.steps)
    torch.set_num_threads(p.threads)
    torch.set_float32_matmul_precision("high")
    torch.set_flush_denormal(True)  # attention has many, and CPUs take a hundred times as long for them
    deadline = time.monotonic() + args.minutes * 60
    pack, work = args.work / "pack", args.work / p.name
    packed, tokenizer = pack / "sprites.zip", pack / "tokenizer"

    def run_pack() -> None:
        if packed.exists() and tokenizer.exists():
            return
        if not args.sprites or not args.clip_bpe:
            parser.error(f"{pack} is empty: give --sprites and --clip-bpe once, or copy that folder from where they were given")
        sprites.pack(args.sprites, packed)
        bpe.build(args.clip_bpe, tokenizer)

    def run_vae() -> None:
        import train_vae
        if not loop.finished(work / "vae", p.vae_steps):
            train_vae.train(p, work / "scenes", work / "vae", deadline, args.start_from)

    def run_clip() -> None:
        import train_clip
        if not loop.finished(work / "clip", p.clip_steps):
            train_clip.train(p, work / "scenes", tokenizer, work / "clip", deadline, args.start_from)
        spread = train_clip.rare_tokens_file(work / "clip")
        if not spread.exists():
            rare_tokens.build(train_clip.load(p, tokenizer, work / "clip"), bpe.load(tokenizer), spread)

    def clip() -> CLIPModel:
        import models
        import train_clip
        if "clip" not in args.keep:
            return train_clip.load(p, tokenizer, work / "clip")
        return models.warm_start(models.clip(p, len(bpe.load(tokenizer))), args.start_from, "clip").eval()

    def vae() -> AutoencoderKL:
        import models
        import train_decoder
        if "vae" not in args.keep:
            return train_decoder.load(p, work)
        return models.warm_start(models.vae(p), args.start_from, "vae").eval()

    def run_cache() -> None:
        import cache
        cache.build(p, work, tokenizer, lambda: (clip(), vae()))

    def run_decoder() -> None:
        import train_decoder
        if not loop.finished(work / "decoder", p.decoder_steps):
            train_decoder.train(p, work, work / "decoder", deadline)

    def run_unet() -> None:
        import train_unet
        if not loop.finished(work / "unet", p.unet_steps):
            train_unet.train(p, work, work / "unet", deadline, args.start_from)

    def run_export() -> None:
        import export
        import train_unet
        export.export(p, tokenizer, args.out, clip(), train_unet.load(p, work / "unet"), vae())

    stages = {"pack": run_pack, "scenes": lambda: data.build(p, packed, work / "scenes"), "vae": run_vae, "clip": run_clip,
              "cache": run_cache, "decoder": run_decoder, "unet": run_unet, "export": run_export}
    wanted = [args.only] if args.only else STAGES[:STAGES.index(args.until) + 1]
    try:
        kept = {*args.keep, *(["decoder"] if "vae" in args.keep else [])}
        for name in [name for name in wanted if name not in kept]:
            print(f"[{name}]", flush=True)
            stages[name]()
    except loop.OutOfTime as stage:
        print(f"out of time in {stage}: run the same command again to go on")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
