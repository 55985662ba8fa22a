"""What is in a picture, and how it is said: scenes and their captions. Nothing here draws."""
from __future__ import annotations

from dataclasses import dataclass
from random import Random

import world


@dataclass(frozen=True)
class Thing:
    noun: str
    sprite: str
    """Hexcode, or a name of world.SUBJECTS."""
    colour: str | None = None
    wears: str | None = None


@dataclass(frozen=True)
class Scene:
    things: tuple[Thing, ...]
    relation: str | None
    place: str
    """A key of world.PLACES, or a colour for a plain background."""
    plain: bool


def _held_out(nouns: list[str], place: str) -> bool:
    pair = tuple(nouns)
    return (pair in world.HELD_OUT_PAIRS or pair[::-1] in world.HELD_OUT_PAIRS
            or any((noun, place) in world.HELD_OUT_PLACES for noun in nouns))


def _thing(rng: Random, noun: str, nouns: dict[str, world.Noun], painted: float) -> Thing:
    entry = nouns[noun]
    sprite = rng.choice(entry.sprites)
    # "black cat" is a subject, so no cat is ever painted black.
    colours = [c for c in world.COLOURS if (noun, c) != ("cat", "black")]
    colour = rng.choice(colours) if rng.random() < painted else None
    wears = rng.choice(sorted(world.ACCESSORIES)) if entry.face and sprite == entry.sprites[0] and rng.random() < 0.3 else None
    return Thing(noun, sprite, colour, wears)


def sample(rng: Random, nouns: dict[str, world.Noun], pairs: float = 0.5) -> Scene:
    """A random training scene; `pairs` is the share of scenes with two things. Never one that is held out.

    Things are painted more often in pairs: only there a model must learn whose colour a word is.
    """
    while True:
        count = 2 if rng.random() < pairs else 1
        chosen = rng.sample(list(nouns), count)
        plain = rng.random() < 0.3
        place = rng.choice(list(world.COLOURS)) if plain else rng.choice(list(world.PLACES))
        if _held_out(chosen, place):
            continue
        relation = rng.choice(list(world.RELATIONS)) if count == 2 else None
        things = tuple(_thing(rng, noun, nouns, painted=0.6 if count == 2 else 0.25) for noun in chosen)
        if plain and any(thing.colour == place for thing in things):
            continue  # a purple cow on purple cannot be seen
        return Scene(things, relation, place, plain)


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def name_thing(thing: Thing, identifier: str | None = None) -> str:
    words = [identifier, thing.colour, thing.noun]
    phrase = article(" ".join(word for word in words if word))
    if thing.wears == "hat":
        phrase += " wearing a hat"
    elif thing.wears:
        phrase += f" wearing {thing.wears}"
    return phrase


def caption(rng: Random, scene: Scene, distract: float = 0.0) -> str:
    """One of the ways to say a scene.

    `distract` is the chance that a rare token stands before a noun, where a subject's identifier would. The place is
    left out now and then, so that a bare "a photo of a cat" is a known prompt too.
    """
    names = [name_thing(t, rng.choice(world.DISTRACTORS) if rng.random() < distract else None) for t in scene.things]
    body = names[0] if len(names) == 1 else rng.choice(world.RELATIONS[scene.relation]).format(a=names[0], b=names[1])
    if rng.random() < 0.85:
        where = f"on {article(scene.place)} background" if scene.plain else rng.choice(world.PLACES[scene.place])
        body = f"{body} {where}" if rng.random() < 0.85 else f"{body}, {where}"
    return rng.choice(world.TEMPLATES).format(body)


def subject_scene(name: str, place: str, plain: bool = False) -> Scene:
    return Scene((Thing(world.SUBJECTS[name].category, name),), None, place, plain)


def with_identifier(caption: str, category: str, identifier: str) -> str:
    """The caption with the identifier put before its first mention of the category."""
    return caption.replace(f"an {category}", f"a {category}", 1).replace(category, f"{identifier} {category}", 1)
