"""What is in a picture, and how it is said: scenes and their captions. Nothing here draws."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from random import Random

import world
from config import Profile


@dataclass(frozen=True)
class Thing:
    noun: str
    sprite: str
    """Hexcode, or a name of world.SUBJECTS."""
    colour: str | None = None
    wears: str | None = None
    within: str | None = None
    """A key of world.CONTAINERS."""


@dataclass(frozen=True)
class Scene:
    things: tuple[Thing, ...]
    relation: str | None
    place: str
    """A key of world.PLACES, or a colour for a plain background."""
    plain: bool
    style: str | None = None


def _held_out(nouns: list[str], place: str) -> bool:
    return (any(pair in world.HELD_OUT_PAIRS for pair in permutations(nouns, 2))
            or any((noun, place) in world.HELD_OUT_PLACES for noun in nouns))


def _thing(rng: Random, noun: str, nouns: dict[str, world.Noun], painted: float, rich: bool) -> Thing:
    entry = nouns[noun]
    sprite = rng.choice(entry.sprites)
    # "black cat" is a subject, so no cat is ever painted black.
    colours = [c for c in world.COLOURS if (noun, c) != ("cat", "black")]
    colour = rng.choice(colours) if rng.random() < painted else None
    wears = rng.choice(sorted(world.ACCESSORIES)) if entry.face and sprite == entry.sprites[0] and rng.random() < 0.3 else None
    held = rich and not wears and entry.kind != "vehicle" and rng.random() < 0.12
    return Thing(noun, sprite, colour, wears, rng.choice(sorted(world.CONTAINERS)) if held else None)


def of_row(p: Profile, row: int) -> Scene:
    """A profile's training scene of this number."""
    return sample(Random(f"{p.seed}-{row}"), world.WORLDS[p.world], rich=p.rich)


def sample(rng: Random, nouns: dict[str, world.Noun], pairs: float = 0.5, rich: bool = False) -> Scene:
    """A random training scene; `pairs` is the share of scenes with two things, or in rich ones with two to four. Never one that is
    held out.

    Things are painted more often in pairs: only there a model must learn whose colour a word is.
    """
    while True:
        count = 2 if rng.random() < pairs else 1
        if rich and count == 2 and rng.random() < 0.3:
            count = rng.choice((3, 4))
        chosen = rng.sample(list(nouns), count)
        plain = rng.random() < 0.3
        place = rng.choice(list(world.COLOURS)) if plain else rng.choice(list(world.PLACES))
        if _held_out(chosen, place):
            continue
        relation = None if count == 1 else "beside" if count > 2 else rng.choice(list(world.RELATIONS))
        things = tuple(_thing(rng, noun, nouns, painted=0.25 if count == 1 else 0.6, rich=rich) for noun in chosen)
        if plain and any(thing.colour == place for thing in things):
            continue  # a purple cow on purple cannot be seen
        style = rng.choice(list(world.STYLES)) if rich and rng.random() < 0.2 else None
        return Scene(things, relation, place, plain, style)


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def name_thing(thing: Thing, identifier: str | None = None) -> str:
    words = [identifier, thing.colour, thing.noun]
    phrase = article(" ".join(word for word in words if word))
    if thing.wears == "hat":
        phrase += " wearing a hat"
    elif thing.wears:
        phrase += f" wearing {thing.wears}"
    if thing.within:
        phrase += f" in {article(thing.within)}"
    return phrase


def caption(rng: Random, scene: Scene, distract: float = 0.0) -> str:
    """One of the ways to say a scene.

    `distract` is the chance that a rare token stands before a noun, where a subject's identifier would. The place is
    left out now and then, so that a bare "a photo of a cat" is a known prompt too.
    """
    names = [name_thing(t, rng.choice(world.DISTRACTORS) if rng.random() < distract else None) for t in scene.things]
    if len(names) == 2:
        body = rng.choice(world.RELATIONS[scene.relation]).format(a=names[0], b=names[1])
    else:
        body = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    if rng.random() < 0.85:
        where = f"on {article(scene.place)} background" if scene.plain else rng.choice(world.PLACES[scene.place])
        body = f"{body} {where}" if rng.random() < 0.85 else f"{body}, {where}"
    return rng.choice(world.STYLES[scene.style] if scene.style else world.TEMPLATES).format(body)


def subject_scene(name: str, place: str, plain: bool = False) -> Scene:
    return Scene((Thing(world.SUBJECTS[name].category, name),), None, place, plain)


def with_identifier(caption: str, category: str, identifier: str) -> str:
    """The caption with the identifier put before its first mention of the category."""
    return caption.replace(f"an {category}", f"a {category}", 1).replace(category, f"{identifier} {category}", 1)
