"""Attention, norms and elementwise ops against PyTorch, as microseconds and ratios.

    python bench/vector.py BINARY [--threads N] [--rounds N] [--only TEXT]

BINARY is bench/cpp/vector_bench.cc, built against the core; bench/kernels.py says how both are measured.
"""
import torch
import torch.nn.functional as F

from kernels import main

# SD 1.4 at 64x64 latents, CLIP's text tower, and the mini model's sizes.
ATTENTION = ["1 4096 4096 8 40", "1 1024 1024 8 80", "1 256 256 8 160", "1 64 64 8 160", "1 4096 77 8 40",
             "1 1024 77 8 80", "1 256 77 8 160", "1 77 77 12 64", "2 256 256 4 32", "4 64 64 4 32", "4 16 16 4 64",
             "4 64 77 4 32", "4 16 77 4 64"]
GROUP_NORM = ["1 4096 320", "2 4096 320", "1 4096 960", "1 1024 640", "1 256 1280", "1 64 1280", "1 65536 128",
              "4 256 64", "4 64 128"]
CASES = (
    [f"{kind} {d}" for d in ATTENTION for kind in ("attention", "attention_backward")]
    + [f"{kind} {d}" for d in GROUP_NORM for kind in ("group_norm", "group_norm_silu", "group_norm_backward")]
    + [f"{kind} {d}" for d in ("4096 320", "1024 640", "256 1280", "77 768", "256 128", "64 256")
       for kind in ("layer_norm", "layer_norm_backward")]
    + [f"{kind} {d}" for d in ("4096 1280", "1024 2560", "256 5120", "256 512") for kind in ("geglu", "geglu_backward")]
    + [f"{kind} {n}" for n in (1310720, 16384) for kind in ("silu", "gelu", "quick_gelu", "gelu_tanh", "add")]
)


def attend(q, k, heads):
    split = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(split(q), split(k), split(k)).transpose(1, 2).flatten(2)


def torch_case(kind, d):
    """(closure, None) of one case; feature maps are channels-last, as the engine's are."""
    name = kind.removesuffix("_backward")
    if name == "attention":
        inputs = [torch.randn(d[0], t, d[3] * d[4]) for t in d[1:3]]
        run = lambda q, k: attend(q, k, d[3])
    elif name.startswith("group_norm"):
        side = int(d[1] ** 0.5)
        weight = torch.ones(d[2])
        inputs = [torch.randn(d[0], d[2], side, side).contiguous(memory_format=torch.channels_last)]
        norm = lambda x: F.group_norm(x, 32, weight, weight)
        run = norm if kind == "group_norm" else lambda x: F.silu(norm(x))
    elif name == "layer_norm":
        weight = torch.ones(d[1])
        inputs = [torch.randn(*d)]
        run = lambda x: F.layer_norm(x, (d[1],), weight, weight)
    elif name == "geglu":
        inputs = [torch.randn(d[0], 2 * d[1])]
        run = lambda x: (lambda value, gate: value * F.gelu(gate))(*x.chunk(2, -1))
    else:
        inputs = [torch.randn(*d)]
        run = {"silu": F.silu, "gelu": F.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
               "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "add": lambda x: x + x}[name]
    if name == kind:
        return torch.inference_mode()(lambda: run(*inputs)), None
    for x in inputs:
        x.requires_grad_()
    y = run(*inputs)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True), None


if __name__ == "__main__":
    main(CASES, torch_case)
