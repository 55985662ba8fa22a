"""Writes models/mini (diffusers layout) and models/mini-clip (transformers layout)."""
from __future__ import annotations

import json
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel

import models
import train_clip
from config import Profile


def export(p: Profile, tokenizer_dir: Path, out: Path, clip: CLIPModel, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    models.export(out / "mini", tokenizer_dir, models.text_tower(clip), unet, vae)
    models.export_clip(out / "mini-clip", tokenizer_dir, clip)
    print(json.dumps({"cosine": train_clip.distinctness(p, tokenizer_dir, clip)}))
