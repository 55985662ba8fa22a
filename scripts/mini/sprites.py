"""Sprites: a folder of `<hexcode>.webp` pictures, or the one packed file that travels to a machine without that folder."""
from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

import world


def pack(folder: Path, out: Path) -> None:
    """Packs every sprite that the worlds need into one uncompressed zip (WebP is compressed already)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in world.sprite_names():
            # A fixed date, so that equal sprites give equal files.
            archive.writestr(zipfile.ZipInfo(f"{name}.webp", (2023, 1, 1, 0, 0, 0)), (folder / f"{name}.webp").read_bytes())


def load(packed: Path) -> dict[str, Image.Image]:
    """Hexcode -> RGBA sprite, cut to its opaque part."""
    sprites = {}
    with zipfile.ZipFile(packed) as archive:
        for name in world.sprite_names():
            sprite = Image.open(io.BytesIO(archive.read(f"{name}.webp"))).convert("RGBA")
            sprites[name] = sprite.crop(sprite.getchannel("A").getbbox())
    return sprites
