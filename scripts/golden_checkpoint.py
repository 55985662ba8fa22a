"""Writes test/goldens/checkpoints: files of torch.save in all its forms, and what is in them.

    python scripts/golden_checkpoint.py
"""
import collections
import json
from pathlib import Path

import numpy
import torch

ROOT = Path(__file__).parent.parent / "test/goldens/checkpoints"


def weights():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.arange(6.0).reshape(2, 3))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    return collections.OrderedDict([
        ("whole", base),
        ("rows", base[1:3]),  # a view of the same storage, whose elements lie together
        ("half", torch.tensor([[1.5, -2.0]], dtype=torch.float16)),
        ("brain", torch.tensor([3.0, 0.25, -1.0], dtype=torch.bfloat16)),
        ("double", torch.tensor([1 / 3], dtype=torch.float64)),
        ("ids", torch.arange(5)),
        ("scalar", torch.tensor(7.0)),
        ("empty", torch.zeros(0, 3)),
        ("parameter", torch.nn.Parameter(torch.ones(2, 2))),
        *model.state_dict().items(),
    ])


def training():
    """As a training program leaves it: the weights are one of many things."""
    return {
        "epoch": 3, "global_step": 875000, "pytorch-lightning_version": "1.4.2", "big": 2 ** 70,
        "state_dict": weights(), "callbacks": {"best": numpy.float64(0.5)}, "loops": None,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}],
        "lr_schedulers": [set([1]), frozenset([2]), b"bytes", True, -70000, 1.5],
    }


def main():
    ROOT.mkdir(exist_ok=True)
    torch.save(weights(), ROOT / "plain.bin")
    torch.save(weights(), ROOT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(training(), ROOT / "training.ckpt")
    torch.save(training(), ROOT / "training-protocol5.ckpt", pickle_protocol=5)
    torch.save(training(), ROOT / "training-legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save({**weights(), "turned": weights()["whole"].T}, ROOT / "turned.bin")
    expected = {
        name: {"dtype": str(tensor.dtype), "shape": list(tensor.shape), "values": tensor.double().flatten().tolist()}
        for name, tensor in weights().items()
    }
    (ROOT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
