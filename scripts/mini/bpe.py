"""A reduced CLIP byte-pair vocabulary: same method, same pieces for the words of our world, 1,442 entries instead of 49,408.

All 512 single characters stay, so any text can be encoded; merges keep CLIP's order, so a kept word is split as CLIP splits it.
"""
from __future__ import annotations

import json
from pathlib import Path

from transformers import CLIPTokenizer

import world

START, END = "<|startoftext|>", "<|endoftext|>"
COMMON_MERGES = 512  # the most frequent merges of CLIP's list, so that other text does not fall apart into letters


def _used_merges(word: str, rank: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    """The merges that byte-pair encoding applies to one lower-case ASCII word."""
    parts = [*word[:-1], word[-1] + "</w>"]
    used = set()
    while len(parts) > 1:
        pair = min(zip(parts, parts[1:]), key=lambda p: rank.get(p, len(rank)))
        if pair not in rank:
            break
        used.add(pair)
        merged, i = [], 0
        while i < len(parts):
            if tuple(parts[i:i + 2]) == pair:
                merged.append(parts[i] + parts[i + 1])
                i += 2
            else:
                merged.append(parts[i])
                i += 1
        parts = merged
    return used


def build(clip_bpe: Path, out: Path) -> None:
    """Writes the reduced tokenizer folder from CLIP's vocab.json and merges.txt.

    `vocab.json`, `merges.txt` and `special_tokens_map.json` are for the slow readers, `tokenizer.json` for the fast ones.
    """
    vocab = json.loads((clip_bpe / "vocab.json").read_text())
    merges = [tuple(line.split()) for line in (clip_bpe / "merges.txt").read_text().splitlines()[1:] if line.strip()]
    rank = {pair: i for i, pair in enumerate(merges)}
    kept = set(merges[:COMMON_MERGES])
    for word in world.words():
        kept |= _used_merges(word, rank)
    for word in (*world.IDENTIFIERS, *world.DISTRACTORS):
        if word + "</w>" not in vocab:
            raise ValueError(f"'{word}' is not a single CLIP token: take it out of world.py")
    merges = [pair for pair in merges if pair in kept]
    singles = sorted((token for token, i in vocab.items() if i < 512), key=vocab.get)
    tokens = list(dict.fromkeys([*singles, *("".join(pair) for pair in merges), START, END]))
    reduced = {token: i for i, token in enumerate(tokens)}

    tokenizer = CLIPTokenizer(vocab=reduced, merges=merges, bos_token=START, eos_token=END, unk_token=END, pad_token=END,
                              model_max_length=77)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    (out / "vocab.json").write_text(json.dumps(reduced, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def load(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder)
