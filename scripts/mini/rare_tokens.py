"""Spreads the rare tokens' embeddings apart, once the CLIP pair is trained and before anything is built on it.

Identifiers must be no more alike than nouns are, as the text encoder's last hidden states tell, or no subject can be bound
to one. The contrastive training cannot do that for words that no caption holds; a few seconds of descent on nothing but
their own embeddings can, and leave every other weight as it is.
"""
from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call
from transformers import CLIPModel, PreTrainedTokenizerBase

import models
import world

STEPS, RATE = 80, 5e-3
RARE = (*world.IDENTIFIERS, *world.DISTRACTORS)
PLACES = (("a photo of a {}", 5), ("{} cat", 1), ("a picture of a {} dog on the beach", 5), ("there is a {} car", 4),
          ("a photo of a cat next to a {} dog", 9))
"""Where an identifier may stand, and the position of its state."""


def spread(model: CLIPModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Embeddings `[rare, D]` whose states `[rare, D]` have little in common: low mean cosine, and low squares of them."""
    text = models.text_tower(model).eval().requires_grad_(False)
    name = next(name for name, _ in text.named_parameters() if name.endswith("token_embedding.weight"))
    table, rows = text.get_parameter(name), ids(tokenizer)
    start = table[rows].clone()
    embeddings = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([embeddings], lr=RATE)
    others = ~torch.eye(len(rows), dtype=torch.bool)
    for step in range(STEPS):
        template, position = PLACES[step % len(PLACES)]
        prompts = tokenizer([template.format(word) for word in RARE], padding=True, return_tensors="pt").input_ids
        states = functional_call(text, {name: table.index_put((rows,), embeddings)}, (prompts,)).last_hidden_state[:, position]
        states = F.normalize(states, dim=-1)
        cosines = (states @ states.T)[others]
        length = (embeddings.norm(dim=1) / start.norm(dim=1) - 1).square().mean()  # stay words like others
        loss = cosines.mean() + cosines.square().mean() + 0.2 * length
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return embeddings.detach()


def ids(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    return torch.tensor([tokenizer.convert_tokens_to_ids(word + "</w>") for word in RARE])


def build(model: CLIPModel, tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    save_file({"embeddings": spread(model, tokenizer)}, file)


@torch.no_grad()
def apply(model: CLIPModel, tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    if file.exists():
        model.text_model.embeddings.token_embedding.weight[ids(tokenizer)] = load_file(file)["embeddings"]
