"""The little world that the model draws: its nouns, colours, places and identifiers, and what is kept out of training.

Sprites are named by their Unicode hexcode, as in Microsoft's Fluent Emoji (3D style, MIT).
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    kind: str
    sprites: tuple[str, ...]
    """Seen in training."""
    face: bool = False
    """The first sprite is a front view of a face: hats and sunglasses fit on it."""


def _noun(kind: str, sprites: str, face: bool = False) -> Noun:
    return Noun(kind, tuple(sprites.split()), face)


CORE_NOUNS: dict[str, Noun] = {
    "cat": _noun("animal", "1F431 1F408 1F638", face=True),
    "dog": _noun("animal", "1F436 1F415", face=True),
    "bear": _noun("animal", "1F43B 1F428", face=True),
    "monkey": _noun("animal", "1F435 1F412 1F98D", face=True),
    "rabbit": _noun("animal", "1F430 1F407"),
    "mouse": _noun("animal", "1F42D 1F401 1F400", face=True),
    "pig": _noun("animal", "1F437 1F416", face=True),
    "cow": _noun("animal", "1F42E 1F404 1F402", face=True),
    "horse": _noun("animal", "1F434 1F40E"),
    "frog": _noun("animal", "1F438"),
    "bird": _noun("animal", "1F426 1F424 1F426-200D-2B1B"),
    "fish": _noun("animal", "1F41F 1F420"),
    "car": _noun("vehicle", "1F697 1F698 1F699"),
    "bus": _noun("vehicle", "1F68C 1F68D"),
    "truck": _noun("vehicle", "1F69A 1F69B 1F6FB"),
    "train": _noun("vehicle", "1F686 1F682 1F684"),
    "boat": _noun("vehicle", "26F5 1F6A2 1F6A4"),
    "cake": _noun("food", "1F382 1F370"),
    "apple": _noun("food", "1F34E 1F34F"),
    "pizza": _noun("food", "1F355"),
    "donut": _noun("food", "1F369"),
    "ice cream": _noun("food", "1F366 1F368"),
    "flower": _noun("plant", "1F33B 1F337 1F33C 1F338"),
    "tree": _noun("plant", "1F333 1F332 1F334"),
    "mushroom": _noun("plant", "1F344"),
    "house": _noun("thing", "1F3E0 1F3E1"),
    "ball": _noun("thing", "26BD 1F3C0 1F3D0"),
    "book": _noun("thing", "1F4D5 1F4D7 1F4D8"),
    "shoe": _noun("thing", "1F45F 1F45E"),
    "balloon": _noun("thing", "1F388"),
    "umbrella": _noun("thing", "2602"),
}

EXTRA_NOUNS: dict[str, Noun] = {
    "elephant": _noun("animal", "1F418"),
    "tiger": _noun("animal", "1F42F 1F405", face=True),
    "fox": _noun("animal", "1F98A", face=True),
    "wolf": _noun("animal", "1F43A", face=True),
    "whale": _noun("animal", "1F433 1F40B"),
    "turtle": _noun("animal", "1F422"),
    "penguin": _noun("animal", "1F427"),
    "chicken": _noun("animal", "1F414"),
    "owl": _noun("animal", "1F989"),
    "duck": _noun("animal", "1F986"),
    "tractor": _noun("vehicle", "1F69C"),
    "rocket": _noun("vehicle", "1F680"),
    "bicycle": _noun("vehicle", "1F6B2"),
    "burger": _noun("food", "1F354"),
    "banana": _noun("food", "1F34C"),
    "strawberry": _noun("food", "1F353"),
    "carrot": _noun("food", "1F955"),
    "cactus": _noun("plant", "1F335"),
    "castle": _noun("thing", "1F3F0"),
    "cup": _noun("thing", "1F375 2615"),
    "trophy": _noun("thing", "1F3C6"),
    "robot": _noun("thing", "1F916", face=True),
    "ghost": _noun("thing", "1F47B"),
    "guitar": _noun("thing", "1F3B8"),
    "clock": _noun("thing", "23F0"),
    "gift": _noun("thing", "1F381"),
}

WORLDS = {"core": CORE_NOUNS, "full": CORE_NOUNS | EXTRA_NOUNS}

ACCESSORIES = {"hat": "1F3A9", "sunglasses": "1F576"}

# What only rich profiles have: things in things, and styles with the ways to say them.
CONTAINERS = {"basket": "1F9FA", "bucket": "1FAA3"}
STYLES: dict[str, tuple[str, ...]] = {
    "sketch": ("a pencil sketch of {}", "a sketch of {}"),
    "pixel art": ("pixel art of {}",),
    "black and white": ("a black and white photo of {}",),
    "painting": ("a painting of {}",),
}

# Name -> RGB. `tint` in render.py maps a sprite's brightness on a ramp through the colour.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (226, 44, 52),
    "orange": (250, 140, 30),
    "yellow": (250, 214, 50),
    "green": (58, 178, 74),
    "blue": (48, 110, 232),
    "purple": (142, 68, 206),
    "pink": (250, 130, 186),
    "black": (46, 44, 52),
    "white": (238, 238, 242),
}

# Places are drawn by render.py; a plain colour is a place too ("on a blue background").
PLACES: dict[str, tuple[str, ...]] = {
    "grass": ("on the grass", "in a green field"),
    "beach": ("on the beach", "at the beach"),
    "snow": ("in the snow", "on the snow"),
    "night": ("at night", "under the night sky"),
    "sunset": ("at sunset", "in front of a sunset"),
    "room": ("in a room", "inside a room"),
}

RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("{a} to the left of {b}",),
    "right": ("{a} to the right of {b}",),
    "beside": ("{a} next to {b}", "{a} and {b}", "{a} beside {b}"),
    "above": ("{a} above {b}",),
    "below": ("{a} below {b}",),
}

TEMPLATES = ("a photo of {}", "a picture of {}", "an image of {}", "{}", "{}", "there is {}")

# --- what is kept out of training -----------------------------------------------------------------------------------

HELD_OUT_PAIRS = (
    ("cat", "car"), ("dog", "cake"), ("rabbit", "balloon"), ("bird", "house"),
    ("horse", "tree"), ("frog", "book"), ("mouse", "umbrella"), ("pig", "boat"),
)
HELD_OUT_PLACES = (
    ("cat", "beach"), ("dog", "night"), ("car", "snow"), ("cake", "grass"),
    ("bear", "sunset"), ("bird", "room"), ("train", "beach"), ("flower", "snow"),
)


@dataclass(frozen=True)
class Subject:
    """A subject of a known category that is never seen in training."""
    category: str
    sprite: str
    hue: float | None = None
    """Degrees by which the sprite's hues are turned."""
    on_top: str | None = None
    """A sprite composed on top of the first."""


SUBJECTS: dict[str, Subject] = {
    "black-cat": Subject("cat", "1F408-200D-2B1B"),
    "poodle": Subject("dog", "1F429"),
    "service-dog": Subject("dog", "1F415-200D-1F9BA"),
    "panda": Subject("bear", "1F43C"),
    "polar-bear": Subject("bear", "1F43B-200D-2744-FE0F"),
    "orangutan": Subject("monkey", "1F9A7"),
    "hamster": Subject("mouse", "1F439"),
    "boar": Subject("pig", "1F417"),
    "buffalo": Subject("cow", "1F403"),
    "unicorn": Subject("horse", "1F984"),
    "zebra": Subject("horse", "1F993"),
    "parrot": Subject("bird", "1F99C"),
    "flamingo": Subject("bird", "1F9A9"),
    "blowfish": Subject("fish", "1F421"),
    "taxi": Subject("car", "1F695"),
    "police-car": Subject("car", "1F693"),
    "trolleybus": Subject("bus", "1F68E"),
    "fire-engine": Subject("truck", "1F692"),
    "bullet-train": Subject("train", "1F685"),
    "ferry": Subject("boat", "26F4"),
    "cupcake": Subject("cake", "1F9C1"),
    "shaved-ice": Subject("ice cream", "1F367"),
    "lotus": Subject("flower", "1FAB7"),
    "christmas-tree": Subject("tree", "1F384"),
    "hut": Subject("house", "1F6D6"),
    "boot": Subject("shoe", "1F97E"),
    "mint-dog": Subject("dog", "1F436", hue=140),
    "violet-truck": Subject("truck", "1F6FB", hue=-90),
    "crowned-frog": Subject("frog", "1F438", on_top="1F451"),
    "gift-car": Subject("car", "1F697", on_top="1F381"),
}

# --- identifiers ----------------------------------------------------------------------------------------------------
# Rare single tokens of CLIP's BPE vocabulary. The text tower never sees any of them, so that they stay distinct; the
# UNet sees only DISTRACTORS, now and then before a noun, and so learns that an unknown word in that place is harmless.

IDENTIFIERS = ("sks", "ucd", "pff", "hta", "izz", "kts", "rcn", "ulf", "dbz", "nrg", "pkg", "wbo", "omd", "yql", "vig", "fnc")
DISTRACTORS = tuple(
    """fay vcu kak siu jic aay taw hov weh fob wdw bpm adn reu kaj brc sst gsa usu ccm nme koo soi jio gby rms lls mvc dbs
    pbb fib aol bgt hak zog ssg ibd cfp ayu noh iaf knw zek tul kkr eba nwo cke odo csw rox dok cki ohl phc alz kph ega
    pmi sqn twc azo seh cem cng bcc xin irc zam vak asl csk hew gau fez tye psc aml mul hag gya wku rop aaj ksu plo vcs
    enn lmp cbe nev pox jfc gno wsl fue moz wye nts unl oku daz cso wud tuc lse xvi cfr grc abd pvp eus tvn""".split())


def sprite_names() -> list[str]:
    """Every sprite that any world or subject needs."""
    names = {sprite for noun in WORLDS["full"].values() for sprite in noun.sprites} | set(ACCESSORIES.values()) | set(CONTAINERS.values())
    for subject in SUBJECTS.values():
        names |= {subject.sprite} | ({subject.on_top} if subject.on_top else set())
    return sorted(names)


def words() -> set[str]:
    """Every word that a caption of any world can hold, identifiers and distractors included."""
    phrases = [*WORLDS["full"], *COLOURS, *PLACES, *ACCESSORIES, *CONTAINERS, *TEMPLATES, *IDENTIFIERS, *DISTRACTORS, *SUBJECTS,
               *(phrase for place in PLACES.values() for phrase in place),
               *(phrase for ways in (*RELATIONS.values(), *STYLES.values()) for phrase in ways),
               "wearing a an in with plain background, and"]
    return {word for phrase in phrases for word in phrase.replace("{a}", "").replace("{b}", "").replace("{}", "")
            .replace(",", " ").replace("-", " ").split()}
