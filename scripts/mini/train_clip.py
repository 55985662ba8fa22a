"""The CLIP pair, trained contrastively on scenes and their captions. Its text tower is frozen for the UNet.

Identifiers must mean little and yet differ, or no subject can be bound to one. Left out of training, random embeddings
come out of the tower rather alike (mean cosine 0.6, nouns 0.1); thrown in as noise, all the same (0.995 in a prototype).
So the contrastive captions hold no rare token, which keeps them without meaning, and a second loss on captions with rare
tokens in random places asks that each last hidden state still tells its own token, which keeps them distinct. rare_tokens.py does
the rest.

On which side of the first noun the second is drawn the UNet must learn from the second's state, as the tower is causal; a contrastive
loss asks no more than that END knows it. So a third loss asks that every state after a side still tells it.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

import bpe
import data
import loop
import models
import rare_tokens
import world
from config import Profile


def train(p: Profile, scenes: Path, tokenizer_dir: Path, folder: Path, deadline: float,
          start: Path | None = None) -> None:
    torch.manual_seed(p.seed + 1)
    tokenizer = bpe.load(tokenizer_dir)
    model = models.clip(p, len(tokenizer))
    if start:
        models.warm_start(model, start, "clip")
    model = model.to(p.device)
    if p.device == "cpu":
        model.set_attn_implementation("eager")  # PyTorch's fused attention has a slow backward in bf16 on CPUs (1.5x here)
    pictures, captions = data.resident(data.pictures(scenes), p.device), data.captions(scenes)
    sides = torch.tensor(tokenizer.convert_tokens_to_ids([side + "</w>" for side in _EXCHANGED]), device=p.device)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.choice(len(pictures), p.clip_batch, replace=False))
        texts = [captions[row][rng.integers(1, data.CAPTIONS)] for row in rows]
        # The text tower is causal, so padding to the longest caption gives the same states as padding to 77.
        exchanged = [other for other in map(_with_sides_exchanged, texts) if other]
        ids = tokenizer(texts + exchanged, padding=True, return_tensors="pt").input_ids.to(p.device)
        x = data.to_model(pictures[torch.from_numpy(rows)])
        rare_ids = tokenizer([_with_rare_token(text, rng) for text in texts], padding=True, return_tensors="pt").input_ids.to(p.device)
        with p.autocast():
            pair = model(input_ids=ids, pixel_values=x)
            states = model.text_model(rare_ids).last_hidden_state
        match = model.logit_scale.exp() * pair.image_embeds.float() @ pair.text_embeds.float().T  # [B, B + exchanged]
        own = torch.arange(len(rows), device=match.device)
        contrast = (F.cross_entropy(match, own) + F.cross_entropy(match[:, :len(rows)].T, own)) / 2
        table = model.text_model.embeddings.token_embedding.weight
        return (contrast + 0.5 * _tells_its_token(states, rare_ids, table)
                + 0.5 * _tells_its_side(pair.text_model_output.last_hidden_state, ids, table, sides))

    loop.train("clip", model, loss_of, folder=folder, steps=p.clip_steps, rate=7e-4, seed=p.seed + 1, deadline=deadline,
               decay=0.99, weight_decay=0.05)


_EXCHANGED = {"left": "right", "right": "left", "above": "below", "below": "above"}


def _with_sides_exchanged(caption: str) -> str | None:
    """What is not in the picture: hardly ever do two captions of a batch differ by the side alone, and without such ones neither tower
    has reason to tell sides."""
    words = caption.split()
    return " ".join(_EXCHANGED.get(word, word) for word in words) if _EXCHANGED.keys() & set(words) else None


def _with_rare_token(caption: str, rng: np.random.Generator) -> str:
    words = caption.split()
    words.insert(rng.integers(len(words) + 1), rng.choice([*world.IDENTIFIERS, *world.DISTRACTORS]))
    return " ".join(words)


def _tells_its_token(states: Tensor, ids: Tensor, table: Tensor) -> Tensor:
    """Cross entropy of finding the token of each state `[B, T, D]` by cosine with the embeddings `[V, D]`, START and padding aside."""
    last = ids.argmax(1)  # END has the highest id
    inside = (torch.arange(ids.shape[1], device=ids.device) < last[:, None]) & (torch.arange(ids.shape[1], device=ids.device) > 0)
    found = F.normalize(states[inside].float(), dim=-1) @ F.normalize(table, dim=-1).T
    return F.cross_entropy(16 * found, ids[inside])


def _tells_its_side(states: Tensor, ids: Tensor, table: Tensor, sides: Tensor) -> Tensor:
    """Cross entropy of finding, from each state `[B, T, D]` after a side (padding too), which of `sides` `[4]` it was, by cosine."""
    said = (ids[..., None] == sides).cumsum(1)[:, :-1]  # [B, T - 1, 4]; a caption says one side at most
    after = said.any(-1)
    found = F.normalize(states[:, 1:][after].float(), dim=-1) @ F.normalize(table[sides], dim=-1).T
    return F.cross_entropy(16 * found, said[after].argmax(-1), reduction="sum") / after.sum().clamp(min=1)


def load(p: Profile, tokenizer_dir: Path, folder: Path) -> CLIPModel:
    """The averaged pair, its rare tokens spread apart if that has been done."""
    tokenizer = bpe.load(tokenizer_dir)
    model = models.clip(p, len(tokenizer))
    model.load_state_dict(loop.averaged(folder))
    rare_tokens.apply(model, tokenizer, rare_tokens_file(folder))
    return model.eval()


def rare_tokens_file(folder: Path) -> Path:
    """Beside the pair's checkpoint, whose folder keeps nothing else."""
    return folder.with_name("rare-tokens.safetensors")


def distinctness(p: Profile, tokenizer_dir: Path, model: CLIPModel) -> dict[str, float]:
    """Mean cosine between the text tower's last hidden states of rare tokens, and of nouns, in "a photo of a X"."""
    tokenizer, text = bpe.load(tokenizer_dir), models.text_tower(model).eval()

    def mean_cosine(words: list[str]) -> float:
        ids = tokenizer([f"a photo of a {word}" for word in words], padding=True, return_tensors="pt").input_ids
        with torch.no_grad():
            states = text(ids).last_hidden_state[:, 5]  # [words, D]; START a photo of a X
        states = F.normalize(states, dim=-1)
        cosines = states @ states.T
        return cosines[~torch.eye(len(words), dtype=torch.bool)].mean().item()

    nouns = [noun for noun in world.WORLDS[p.world] if " " not in noun]
    return {"identifiers": mean_cosine(list(world.IDENTIFIERS)), "nouns": mean_cosine(nouns)}
