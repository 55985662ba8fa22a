"""Draws scenes: procedural places, sprites on them, hats and sunglasses on faces."""
from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

import world
from scene import Scene, Thing


class Renderer:
    """Draws scenes of one size from a set of sprites. `sprites` maps a hexcode to an RGBA picture.

    `loose` lets positions, sizes and tilts vary freely; otherwise things have one size and stand on the grid of the
    latents (an eighth of the picture), which a model learns in a fraction of the time.
    """

    def __init__(self, sprites: dict[str, Image.Image], size: int, loose: bool):
        self.size = size
        self.sprites = sprites
        self.loose = loose

    def draw(self, rng: Random, scene: Scene) -> np.ndarray:
        """`[size, size, 3]` uint8. Everything that the scene leaves open (positions, sizes, shades) comes from `rng`."""
        size = self.size
        canvas = _plain(rng, size, scene.place) if scene.plain else _PLACES[scene.place](rng, size)
        layout = _many_layout if len(scene.things) > 2 else _loose_layout if self.loose else _grid_layout
        for thing, (x, y, extent) in zip(scene.things, layout(rng, scene)):
            sprite = self._thing(thing)
            if rng.random() < 0.5:
                sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            scale = extent * size / max(sprite.size)
            sprite = sprite.resize([max(1, round(side * scale)) for side in sprite.size], Image.Resampling.LANCZOS)
            if self.loose:
                sprite = sprite.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, expand=True)
            canvas.paste(sprite, (round(x * size - sprite.width / 2), round(y * size - sprite.height / 2)), sprite)
        return np.asarray(_STYLES[scene.style](canvas) if scene.style else canvas)

    def _thing(self, thing: Thing) -> Image.Image:
        if thing.sprite in world.SUBJECTS:
            return self._subject(world.SUBJECTS[thing.sprite])
        sprite = self.sprites[thing.sprite]
        if thing.colour:
            sprite = tint(sprite, world.COLOURS[thing.colour])
        if thing.wears:
            sprite = self._dress(sprite, thing.wears)
        return _inside(sprite, self.sprites[world.CONTAINERS[thing.within]]) if thing.within else sprite

    def _subject(self, subject: world.Subject) -> Image.Image:
        sprite = self.sprites[subject.sprite]
        if subject.hue is not None:
            sprite = turn_hue(sprite, subject.hue)
        if subject.on_top:
            sprite = _on_top(sprite, self.sprites[subject.on_top], 0.55)
        return sprite

    def _dress(self, face: Image.Image, accessory: str) -> Image.Image:
        worn = self.sprites[world.ACCESSORIES[accessory]]
        if accessory == "hat":
            return _on_top(face, worn, 0.6)
        width = round(face.width * 0.72)
        worn = worn.resize((width, round(worn.height * width / worn.width)), Image.Resampling.LANCZOS)
        dressed = face.copy()
        dressed.alpha_composite(worn, ((face.width - width) // 2, round(face.height * 0.46 - worn.height / 2)))
        return dressed


def _on_top(base: Image.Image, top: Image.Image, share: float) -> Image.Image:
    """`top`, `share` as wide as `base`, standing on it with a little overlap."""
    width = round(base.width * share)
    top = top.resize((width, round(top.height * width / top.width)), Image.Resampling.LANCZOS)
    rise = round(top.height * 0.72)
    out = Image.new("RGBA", (base.width, base.height + rise))
    out.alpha_composite(base, (0, rise))
    out.alpha_composite(top, ((base.width - width) // 2, 0))
    return out


def _inside(thing: Image.Image, container: Image.Image) -> Image.Image:
    """The upper part of `thing` looking out of a container as wide as it."""
    container = container.resize((thing.width, round(container.height * thing.width / container.width)), Image.Resampling.LANCZOS)
    out = Image.new("RGBA", (thing.width, round(thing.height * 0.55) + container.height))
    out.alpha_composite(thing.crop((0, 0, thing.width, min(thing.height, out.height - container.height // 4))), (0, 0))
    out.alpha_composite(container, (0, out.height - container.height))
    return out


def tint(sprite: Image.Image, rgb: tuple[int, int, int]) -> Image.Image:
    """Paints a sprite: its brightness runs black -> colour -> white, with a rest of its own colours."""
    pixels = np.asarray(sprite).astype(np.float32)  # [H, W, 4]
    colour = np.array(rgb, np.float32)
    light = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    mean = light[pixels[..., 3] > 127].mean()
    # The sprite's own mean brightness becomes the pure colour, so that dark and light sprites are painted alike.
    level = np.clip(light / (2 * mean), 0, 1)[..., None]
    painted = np.where(level < 0.5, colour * (0.35 + 1.3 * level), colour + (255 - colour) * (level - 0.5) * 1.2)
    pixels[..., :3] = 0.85 * painted + 0.15 * pixels[..., :3]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")


def turn_hue(sprite: Image.Image, degrees: float) -> Image.Image:
    hsv = np.array(sprite.convert("RGB").convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 360 * 256)) % 256
    out = Image.fromarray(hsv, "HSV").convert("RGBA")
    out.putalpha(sprite.getchannel("A"))
    return out


# "A and B" is A at the left, as people name what they see.
_NAMED_FROM_THE_LEFT = {"beside": "left"}


def _grid_layout(rng: Random, scene: Scene) -> list[tuple[float, float, float]]:
    """Centre and extent of each thing, in parts of the picture, all on the latents' grid."""
    if len(scene.things) == 1:
        return [(rng.choice((0.375, 0.5, 0.5, 0.625)), 0.5, 0.75)]
    relation = _NAMED_FROM_THE_LEFT.get(scene.relation, scene.relation)
    places = [(0.25, 0.5), (0.75, 0.5)] if relation in ("left", "right") else [(0.5, 0.25), (0.5, 0.75)]
    if relation in ("right", "below"):
        places.reverse()
    return [(*place, 0.5) for place in places]


def _loose_layout(rng: Random, scene: Scene) -> list[tuple[float, float, float]]:
    """Centre and extent of each thing, in parts of the picture."""
    jitter = lambda spread: rng.uniform(-spread, spread)
    if len(scene.things) == 1:
        extent = rng.uniform(0.6, 0.82)
        slack = (1 - extent) / 2
        return [(0.5 + jitter(slack * 0.8), 0.53 + jitter(slack * 0.6), extent)]
    relation = _NAMED_FROM_THE_LEFT.get(scene.relation, scene.relation)
    extents = rng.uniform(0.44, 0.5), rng.uniform(0.44, 0.5)
    if relation in ("left", "right"):
        y = 0.55 + jitter(0.08)
        places = [(0.26 + jitter(0.02), y + jitter(0.04)), (0.74 + jitter(0.02), y + jitter(0.04))]
    else:
        x = 0.5 + jitter(0.1)
        places = [(x + jitter(0.04), 0.26 + jitter(0.02)), (x + jitter(0.04), 0.74 + jitter(0.02))]
    if relation in ("right", "below"):
        places.reverse()
    return [(*place, extent) for place, extent in zip(places, extents)]


def _many_layout(rng: Random, scene: Scene) -> list[tuple[float, float, float]]:
    """Three in a row, or four in two rows."""
    jitter = lambda: rng.uniform(-0.02, 0.02)
    if len(scene.things) == 3:
        return [(x + jitter(), 0.55 + 2 * jitter(), 0.31) for x in (0.18, 0.5, 0.82)]
    return [(x + jitter(), y + jitter(), 0.42) for y in (0.27, 0.73) for x in (0.27, 0.73)]


# --- places ---------------------------------------------------------------------------------------------------------
# None looks the same in a mirror: a model of symmetric places has nothing to tell left from right by, as it tells top from
# bottom by the sky. (Needed for "to the left of", and not enough: docs/log/mini.md.)

def _gradient(size: int, top: tuple[int, int, int], bottom: tuple[int, int, int]) -> np.ndarray:
    t = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    return np.broadcast_to((1 - t) * np.array(top, np.float32) + t * np.array(bottom, np.float32), (size, size, 3)).copy()


def _shade(rng: Random, rgb: tuple[int, int, int], spread: int = 10) -> tuple[int, int, int]:
    return tuple(min(255, max(0, channel + rng.randint(-spread, spread))) for channel in rgb)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def _plain(rng: Random, size: int, colour: str) -> Image.Image:
    rgb = _shade(rng, world.COLOURS[colour], 8)
    pixels = _gradient(size, rgb, tuple(channel * 0.93 for channel in rgb))
    return _image(pixels * np.linspace(1, 0.8, size, dtype=np.float32)[None, :, None])  # lit from the left


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, across: float, up: float, fill: tuple[int, int, int]) -> None:
    """An ellipse around (x, y), in pixels."""
    draw.ellipse([x - across, y - up, x + across, y + up], fill=fill)


def _grass(rng: Random, size: int) -> Image.Image:
    pixels = _gradient(size, _shade(rng, (120, 190, 245)), _shade(rng, (215, 238, 252)))
    horizon = round(size * rng.uniform(0.4, 0.6))
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    _disc(draw, size * 0.12, size * 0.13, size * 0.09, size * 0.09, (255, 246, 180))  # sun
    _disc(draw, size * 0.95, horizon, size * 0.4, size * rng.uniform(0.14, 0.2), _shade(rng, (90, 165, 90)))  # hill
    pixels = np.array(image, np.float32)
    pixels[horizon:] = _gradient(size, _shade(rng, (130, 200, 80)), _shade(rng, (50, 140, 50)))[:size - horizon]
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    for _ in range(14):  # tufts
        x, y = rng.uniform(0, size), rng.uniform(horizon + 2, size)
        draw.line([(x, y), (x + rng.uniform(-1, 1), y - size * 0.05)], fill=_shade(rng, (40, 120, 40)), width=max(1, size // 64))
    return image


def _beach(rng: Random, size: int) -> Image.Image:
    pixels = _gradient(size, _shade(rng, (110, 200, 250)), _shade(rng, (205, 238, 252)))
    sea = round(size * rng.uniform(0.32, 0.42))
    sand = sea + round(size * rng.uniform(0.15, 0.22))
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    _disc(draw, size * 0.87, size * 0.13, size * 0.09, size * 0.09, (255, 248, 200))  # sun
    _disc(draw, 0, sea, size * rng.uniform(0.3, 0.4), size * 0.12, _shade(rng, (96, 140, 110)))  # headland
    pixels = np.array(image, np.float32)
    pixels[sea:sand] = _shade(rng, (30, 130, 200))
    pixels[sand:sand + max(1, size // 32)] = (240, 250, 252)  # foam
    pixels[sand + max(1, size // 32):] = _gradient(size, _shade(rng, (245, 222, 160)), _shade(rng, (222, 184, 118)))[:size - sand - max(1, size // 32)]
    return _image(pixels)


def _snow(rng: Random, size: int) -> Image.Image:
    pixels = _gradient(size, _shade(rng, (165, 190, 215)), _shade(rng, (215, 226, 238)))
    horizon = round(size * rng.uniform(0.5, 0.62))
    image = _image(pixels)
    peak = size * rng.uniform(0.12, 0.24)
    ImageDraw.Draw(image).polygon([(-size * 0.2, horizon), (peak, size * 0.14), (size * 0.55, horizon)], fill=_shade(rng, (120, 140, 172)))  # mountain
    pixels = np.array(image, np.float32)
    pixels[horizon:] = _gradient(size, (250, 252, 255), (222, 232, 244))[:size - horizon]
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    for _ in range(22):  # flakes
        _disc(draw, rng.uniform(0, size), rng.uniform(0, size), size / 80, size / 80, (255, 255, 255))
    return image


def _night(rng: Random, size: int) -> Image.Image:
    image = _image(_gradient(size, _shade(rng, (10, 12, 40), 6), _shade(rng, (36, 40, 92), 8)))
    draw = ImageDraw.Draw(image)
    for _ in range(18):  # stars
        radius = rng.uniform(0.3, 0.9) * size / 64
        _disc(draw, rng.uniform(0, size), rng.uniform(0, size * 0.8), radius, radius, (250, 246, 210))
    _disc(draw, size * 0.86, size * 0.13, size * 0.09, size * 0.09, (246, 240, 196))  # moon
    draw.rectangle([0, size * 0.86, size, size], fill=_shade(rng, (18, 34, 40), 5))
    return image


def _sunset(rng: Random, size: int) -> Image.Image:
    image = _image(_gradient(size, _shade(rng, (110, 50, 130)), _shade(rng, (255, 150, 60))))
    draw = ImageDraw.Draw(image)
    horizon = size * rng.uniform(0.7, 0.78)
    _disc(draw, rng.uniform(0.12, 0.3) * size, horizon, size * 0.16, size * 0.16, (255, 226, 120))
    draw.rectangle([0, horizon, size, size], fill=_shade(rng, (70, 34, 72), 6))
    return image


def _room(rng: Random, size: int) -> Image.Image:
    pixels = _gradient(size, _shade(rng, (240, 216, 186)), _shade(rng, (228, 200, 166)))
    floor = round(size * rng.uniform(0.66, 0.74))
    pixels[floor:] = _gradient(size, _shade(rng, (164, 106, 62)), _shade(rng, (122, 74, 42)))[:size - floor]
    pixels[floor:floor + max(1, size // 40)] = (250, 244, 236)  # skirting board
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    draw.rectangle([size * 0.06, size * 0.08, size * 0.32, size * 0.36], fill=(160, 214, 248), outline=(255, 255, 255), width=max(1, size // 32))
    return image


_PLACES = {"grass": _grass, "beach": _beach, "snow": _snow, "night": _night, "sunset": _sunset, "room": _room}

# --- styles ---------------------------------------------------------------------------------------------------------

def _sketch(image: Image.Image) -> Image.Image:
    return ImageOps.invert(ImageOps.autocontrast(image.convert("L").filter(ImageFilter.FIND_EDGES), cutoff=1)).convert("RGB")


def _pixel_art(image: Image.Image) -> Image.Image:
    small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX).quantize(24).convert("RGB")
    return small.resize(image.size, Image.Resampling.NEAREST)


def _black_and_white(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def _painting(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.ModeFilter(image.width // 24 | 1))


_STYLES = {"sketch": _sketch, "pixel art": _pixel_art, "black and white": _black_and_white, "painting": _painting}
