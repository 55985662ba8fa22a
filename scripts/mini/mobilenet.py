#!/usr/bin/env python3
"""MobileNetV2's pooled features of picture files: a judge of likeness that was trained on ImageNet, not on this world.

The weights are a safetensors file with 53 convolutions `NN.weight`, `NN.bias` in the network's order (batch norm folded in).
Writes float32 `[files, 1280]`.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

# Expansion, channels, blocks, stride: table 2 of the paper (Sandler et al. 2018).
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def features(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """x `[N, 3, 224, 224]` in [-1, 1] -> `[N, 1280]`."""
    number = 0

    def conv(x: Tensor, stride: int = 1, depthwise: bool = False, act: bool = True) -> Tensor:
        nonlocal number
        w, b = weights[f"{number:02d}.weight"], weights[f"{number:02d}.bias"]
        number += 1
        if w.shape[-1] > 1:  # TensorFlow's SAME padding
            pads = [max((-(-side // stride) - 1) * stride + w.shape[-1] - side, 0) for side in x.shape[-2:]]
            x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        x = F.conv2d(x, w, b, stride, groups=len(w) if depthwise else 1)
        return x.clamp(0, 6) if act else x

    x = conv(x, 2)
    for expansion, _, blocks, stride in STAGES:
        for block in range(blocks):
            y = conv(x) if expansion > 1 else x
            y = conv(conv(y, stride if block == 0 else 1, depthwise=True), act=False)
            x = x + y if block > 0 else y
    return conv(x).mean((2, 3))


def load(file: str) -> Tensor:
    picture = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture, np.float32) / 127.5 - 1).permute(2, 0, 1)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True, help="JSON list of picture files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    weights = {name: value.float() for name, value in load_file(args.weights).items()}
    files = json.loads(args.files.read_text())
    rows = [features(weights, torch.stack([load(file) for file in files[i:i + 16]])) for i in range(0, len(files), 16)]
    args.out.write_bytes(torch.cat(rows).numpy().astype("<f4").tobytes())


if __name__ == "__main__":
    main()
