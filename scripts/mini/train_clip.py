"""The CLIP pair, trained contrastively on scenes and their captions. Its text tower is frozen for the UNet.

Captions here hold no rare tokens: a tower that sees them as noise learns to map them all to one vector (cosine 0.995 in a
prototype), and then no subject can be bound to one. Unseen, they stay as distinct as their random embeddings.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPModel

import bpe
import data
import loop
import models
import world
from config import Profile


def train(p: Profile, scenes: Path, tokenizer_dir: Path, folder: Path, deadline: float) -> None:
    torch.manual_seed(p.seed + 1)
    tokenizer = bpe.load(tokenizer_dir)
    model = models.clip(p, len(tokenizer)).to(p.device)
    if p.device == "cpu":
        model.set_attn_implementation("eager")  # PyTorch's fused attention has a slow backward in bf16 on CPUs (1.5x here)
    pictures, captions = data.pictures(scenes), data.captions(scenes)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.choice(len(pictures), p.clip_batch, replace=False))
        texts = [captions[row][rng.integers(1, data.CAPTIONS)] for row in rows]
        # The text tower is causal, so padding to the longest caption gives the same states as padding to 77.
        ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids.to(p.device)
        x = data.to_model(pictures[rows]).to(p.device)
        with torch.autocast(p.device, torch.bfloat16):
            return model(input_ids=ids, pixel_values=x, return_loss=True).loss

    loop.train("clip", model, loss_of, folder=folder, steps=p.clip_steps, rate=7e-4, seed=p.seed + 1, deadline=deadline,
               decay=0.99, weight_decay=0.05)


@torch.no_grad()
def load(p: Profile, tokenizer_dir: Path, folder: Path) -> CLIPModel:
    """The averaged pair. Tokens that no caption holds get fresh random embeddings as long as the trained ones'.

    At their start length they would drown in the position embeddings, and be alike for that reason.
    """
    tokenizer = bpe.load(tokenizer_dir)
    model = models.clip(p, len(tokenizer))
    model.load_state_dict(loop.averaged(folder))
    rare = {*world.IDENTIFIERS, *world.DISTRACTORS}
    seen = sorted({i for word in world.words() - rare for i in tokenizer(word).input_ids})
    unseen = sorted(set(range(len(tokenizer))) - set(seen))
    table = model.text_model.embeddings.token_embedding.weight
    generator = torch.Generator().manual_seed(p.seed)
    table[unseen] = torch.randn(len(unseen), table.shape[1], generator=generator) * table[seen].std()
    return model.eval()


def distinctness(p: Profile, tokenizer_dir: Path, model: CLIPModel) -> dict[str, float]:
    """Mean cosine between the text tower's last hidden states of rare tokens, and of nouns, in "a photo of a X"."""
    tokenizer, text = bpe.load(tokenizer_dir), models.text_tower(model).eval()

    def mean_cosine(words: list[str]) -> float:
        ids = tokenizer([f"a photo of a {word}" for word in words], padding=True, return_tensors="pt").input_ids
        with torch.no_grad():
            states = text(ids).last_hidden_state[:, 5]  # [words, D]; START a photo of a X
        states = torch.nn.functional.normalize(states, dim=-1)
        cosines = states @ states.T
        return cosines[~torch.eye(len(words), dtype=torch.bool)].mean().item()

    nouns = [noun for noun in world.WORLDS[p.world] if " " not in noun]
    return {"identifiers": mean_cosine(list(world.IDENTIFIERS)), "nouns": mean_cosine(nouns)}
