"""One training loop for all networks: AdamW or Muon, warm-up and cosine, weight averaging, and pieces that can be resumed.

Every step draws its randomness from its own number, so a run cut into pieces is the run in one go.
"""
from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import muon

PIECE = 15 * 2**20  # bytes; checkpoints travel in files under 16 MiB


def save_pieces(folder: Path, tensors: dict[str, Tensor], info: dict) -> None:
    """Writes tensors in files of at most PIECE bytes, then `info.json`, which makes the checkpoint count."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[dict[str, Tensor]] = [{}]
    room = PIECE
    for name, tensor in tensors.items():
        if tensor.nbytes > room and pieces[-1]:
            pieces.append({})
            room = PIECE
        pieces[-1][name] = tensor.detach().cpu().contiguous()
        room -= tensor.nbytes
    names = []
    for i, piece in enumerate(pieces):
        names.append(f"step{info['step']}-{i}.safetensors")
        save_file(piece, folder / names[-1])
    (folder / "info.tmp").write_text(json.dumps({**info, "pieces": names}))
    (folder / "info.tmp").replace(folder / "info.json")
    for old in folder.glob("*.safetensors"):
        if old.name not in names:
            old.unlink()


def load_pieces(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    if not (folder / "info.json").exists():
        return None
    info = json.loads((folder / "info.json").read_text())
    return {k: v for name in info["pieces"] for k, v in load_file(folder / name).items()}, info


def averaged(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint."""
    found = load_pieces(folder)
    if found is None:
        raise FileNotFoundError(f"{folder} holds no checkpoint: run the earlier stage of train.py first")
    return {name.removeprefix("average."): t for name, t in found[0].items() if name.startswith("average.")}


class OutOfTime(Exception):
    """The piece's minutes are over; the checkpoint is written and the same command goes on from it."""


def train(name: str, model: nn.Module, loss_of: Callable[[int, np.random.Generator], Tensor], *, folder: Path, steps: int,
          rate: float, seed: int, deadline: float, decay: float = 0.999, weight_decay: float = 0.01, matrices: str = "adamw",
          on_save: Callable[[dict[str, Tensor]], None] | None = None) -> None:
    """Trains `model` until `steps`, or raises OutOfTime at `deadline` (time.monotonic seconds).

    `loss_of(step, rng)` returns the loss of one batch. `matrices` is their optimizer, "adamw" or "muon". `on_save` is
    given the averaged weights at each checkpoint.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    inner = [p for n, p in named if matrices == "muon" and muon.is_matrix(n, p)]
    rest = [p for n, p in named if not (matrices == "muon" and muon.is_matrix(n, p))]
    optimizers = [torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)]
    if inner:
        optimizers.append(muon.Muon(inner, lr=rate, weight_decay=weight_decay))
    states = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    start, losses = 0, []
    found = load_pieces(folder)
    if found:
        tensors, info = found
        start, losses = info["step"], info["losses"]
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        for k in average:
            average[k].copy_(tensors[f"average.{k}"])
        for i, p in enumerate(parameters):
            if f"momentum.{i}" in tensors:
                states[p].state[p] = {"momentum": tensors[f"momentum.{i}"].to(p.device)}
            elif f"first.{i}" in tensors and states[p] is optimizers[0]:
                states[p].state[p] = {"step": torch.tensor(float(start), device=p.device), "exp_avg": tensors[f"first.{i}"].to(p.device),
                                      "exp_avg_sq": tensors[f"second.{i}"].to(p.device)}

    def save(step: int) -> None:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | {f"average.{k}": v for k, v in average.items()}
        for i, p in enumerate(parameters):
            state = states[p].state.get(p, {})
            if "momentum" in state:
                tensors[f"momentum.{i}"] = state["momentum"]
            elif state:
                tensors |= {f"first.{i}": state["exp_avg"], f"second.{i}": state["exp_avg_sq"]}
        save_pieces(folder, tensors, {"step": step, "losses": losses})
        if on_save:
            on_save(average)

    model.train()
    saved, begun, recent = time.monotonic(), time.monotonic(), []
    for step in range(start, steps):
        warm = min(1.0, (step + 1) / 200)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = loss_of(step, np.random.default_rng((seed, step)))
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            # A young average would remember the random start for long, so it begins as a plain mean.
            keep = min(decay, (step + 1) / (step + 10))
            state = model.state_dict()
            floats = [k for k, v in state.items() if v.is_floating_point()]
            torch._foreach_lerp_([average[k] for k in floats], [state[k] for k in floats], 1 - keep)
            for k in state.keys() - set(floats):  # batch norm's count of batches
                average[k].copy_(state[k])
        recent.append(loss.detach())  # not yet a number: a GPU would have to wait for it in every step
        if (step + 1) % 100 == 0 or step + 1 == steps:
            losses.append([step + 1, torch.stack(recent).mean().item()])
            pace = (step + 1 - start) / (time.monotonic() - begun)
            print(f"{name} {step + 1}/{steps} loss {losses[-1][1]:.4f} {pace:.2f} steps/s", flush=True)
            recent = []
        now = time.monotonic()
        if step + 1 == steps or now > deadline or now - saved > 240:
            save(step + 1)
            saved = now
            if now > deadline and step + 1 < steps:
                raise OutOfTime(name)


def finished(folder: Path, steps: int) -> bool:
    """Whether a stage's checkpoint has run all of its steps."""
    info = folder / "info.json"
    return info.exists() and json.loads(info.read_text())["step"] >= steps
