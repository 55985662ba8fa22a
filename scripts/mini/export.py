"""Writes models/mini (diffusers layout) and models/mini-clip (transformers layout) from the stages' checkpoints."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import models
import train_clip
import train_decoder
import train_unet
from config import Profile


def export(p: Profile, work: Path, tokenizer_dir: Path, out: Path) -> None:
    clip = train_clip.load(p, tokenizer_dir, work / "clip")
    text = models.text_tower(clip)
    models.export(out / "mini", tokenizer_dir, text, train_unet.load(p, work / "unet"), train_decoder.load(p, work))
    models.export_clip(out / "mini-clip", tokenizer_dir, clip)
    print(json.dumps({"cosine": train_clip.distinctness(p, tokenizer_dir, clip)}))


def export_unet(p: Profile, work: Path, out: Path, start: Path) -> None:
    """The newly trained UNet beside everything else of an earlier result."""
    if out.resolve() != start.resolve():
        shutil.copytree(start / "mini", out / "mini", dirs_exist_ok=True)
    models.write_model(train_unet.load(p, work / "unet"), out / "mini" / "unet", models.DIFFUSERS_WEIGHTS)
