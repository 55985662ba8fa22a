"""Matrix products and convolutions against PyTorch, as GFLOP/s and ratios.

    python bench/gemm.py BINARY [--threads N] [--rounds N] [--only TEXT]

BINARY is bench/cpp/gemm_bench.cc, built against the core; bench/kernels.py says how both are measured.
"""
import torch
import torch.nn.functional as F

from kernels import main

# SD 1.4 at 64x64 latents, the mini model (batch 2 of a guided step), and the autoencoder's ends.
CASES = [
    "linear 4096 320 320", "linear 4096 320 2560", "linear 4096 1280 320", "linear 154 768 320",
    "linear 1024 640 640", "linear 256 1280 1280", "linear 64 1280 10240", "linear 2 320 1280",
    "linear 512 128 128", "linear 128 256 256", "linear 128 256 2048", "linear 154 256 128",
    "outer 4096 320 320", "outer 154 768 320", "outer 512 128 128", "outer 128 256 256",
    "conv 1 64 64 320 320 3 1", "conv 1 32 32 640 640 3 1", "conv 1 16 16 1280 1280 3 1", "conv 1 8 8 1280 1280 3 1",
    "conv 1 8 8 2560 1280 3 1", "conv 1 64 64 4 320 3 1", "conv 1 64 64 320 4 3 1", "conv 1 64 64 320 320 3 2",
    "conv 2 16 16 64 64 3 1", "conv 2 16 16 128 128 3 1", "conv 2 8 8 256 256 3 1", "conv 2 8 8 512 256 3 1",
    "conv 2 4 4 256 256 3 1", "conv 1 128 128 128 128 3 1", "conv 1 128 128 128 3 3 1",
    "convdx 1 64 64 320 320 3 1", "convdx 1 8 8 1280 1280 3 1", "convdx 1 64 64 320 320 3 2",
    "convdx 2 16 16 128 128 3 1", "convdx 2 8 8 256 256 3 1", "convdw 2 8 8 256 256 3 1",
]


def torch_case(kind, d):
    """(closure, floating-point operations) of one case; activations are channels-last where PyTorch profits from it."""
    if kind in ("linear", "outer"):
        m, k, n = d
        x, w, y = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
        return (lambda: F.linear(x, w)) if kind == "linear" else (lambda: y.t() @ x), 2 * m * k * n
    b, h, w_, c, o, kernel, stride = d
    x = torch.randn(b, c, h, w_).contiguous(memory_format=torch.channels_last)
    w = torch.randn(o, c, kernel, kernel).contiguous(memory_format=torch.channels_last)
    y = F.conv2d(x, w, stride=stride, padding=kernel // 2)
    dy = torch.randn_like(y)
    flops = 2 * y.numel() * c * kernel * kernel
    if kind == "conv":
        return lambda: F.conv2d(x, w, stride=stride, padding=kernel // 2), flops
    mask = (kind == "convdx", kind == "convdw", False)
    return lambda: torch.ops.aten.convolution_backward(
        dy, x, w, None, [stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1, mask), flops


if __name__ == "__main__":
    with torch.inference_mode():
        main(CASES, torch_case)
