"""What every kind of golden shares: lively random weights, fp64 evaluation, errors of PyTorch's own precisions, files."""
import contextlib
import json
import math
import pathlib

import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "test" / "goldens" / "models"


def generator(seed):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def randomize(model, seed, dtype):
    """Seeded weights under which no term vanishes: unit-gain matrices, biases and norms away from 0 and 1.

    They are rounded to `dtype`, the type they are stored in, so that the reference runs on the stored values.
    Returns the model in fp32.
    """
    g = generator(seed)
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=g)
        if "embedding.weight" in name:
            x *= 0.5
        elif p.ndim >= 2:
            x /= math.sqrt(p[0].numel())
        elif name.endswith("bias"):
            x *= 0.2
        else:  # weight of a norm
            x = 1 + 0.3 * x
        p.copy_(x.to(dtype))
    return model.float().eval().requires_grad_(False)


def normal(seed, *shape):
    return torch.randn(shape, generator=generator(seed))


def per_row_mse(out, target, weights):
    """sum_b weights[b] * mean((out[b] - target[b])^2); out, target [B, ...], weights [B]."""
    return (weights * (out - target).square().flatten(1).mean(1)).sum()


class _Float64:
    """A stand-in for the module torch or numpy in which `float32` names float64."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, "float64" if name == "float32" else name)


@contextlib.contextmanager
def float64_in(*modules):
    """Runs the code of these diffusers modules with the `torch.float32` and `np.float32` in it read as float64.

    diffusers computes noise schedules and time embeddings in fp32 whatever the model's type; a reference must not.
    """
    saved = [(m, name, getattr(m, name)) for m in modules for name in ("torch", "np") if hasattr(m, name)]
    for m, name, value in saved:
        setattr(m, name, _Float64(value))
    try:
        yield
    finally:
        for m, name, value in saved:
            setattr(m, name, value)


def errors(reference, fp32_runs):
    """PyTorch's own fp32 error per tensor: the largest over several fp32 runs (memory formats, attention kernels)."""
    result = {}
    for name, want in reference.items():
        if not want.is_floating_point():
            continue
        differences = [run[name].double() - want for run in fp32_runs if name in run]
        if differences:
            result[name] = {
                "maxAbsError": max(d.abs().max().item() for d in differences),
                "meanAbsError": max(d.abs().mean().item() for d in differences),
                "maxAbsValue": want.abs().max().item(),
            }
    return result


# ---- in 16 bits ----
HALVES = {"Fp16": torch.float16, "Bf16": torch.bfloat16}


def wide(dtype):
    """The type of losses, optimiser state and sums beside a model of `dtype`: fp32 beside 16 bits, as PyTorch's users have it."""
    return torch.float32 if dtype in HALVES.values() else dtype


def widen(x):
    return x.to(wide(x.dtype))


def gradient_scale(dtype, row):
    """What the loss over `row` elements per sample is multiplied by for backward: Backend::gradient_scale of cones in 16 bits.

    A power of two, as torch.amp.GradScaler's; whoever asks for it takes it out of the widened gradients again, exactly.
    """
    return float(2 ** (min(row, 1 << 14).bit_length() - 1)) if dtype in HALVES.values() else 1.0


# Of a scalar, or where a choice of weights hangs on single bits, a few runs' largest error is a matter of luck. So there are runs
# with inputs rounded to 16 bits in several ways.
ROUNDINGS = range(4)


def round_to(dtype, x, rounding=0):
    """x to the nearest value of `dtype`; with another `rounding` than 0 up or down at random, the nearer the likelier."""
    if rounding and x.is_floating_point():
        _, exponent = torch.frexp(x)
        spacing = torch.ldexp(torch.full_like(x, torch.finfo(dtype).eps), exponent - 1)
        x = x + spacing * (torch.rand(x.shape, generator=generator(rounding)) - 0.5)
    return x.to(dtype)


def add_half_errors(folder, kind, name):
    """Adds to errors.json how far PyTorch is from golden.safetensors in 16 bits, with the files of the folder; changes no more.

    `kind.half_runs(name, folder, tensors, dtype)`: the results of several runs. `kind.half_entries`, where it has one: entries
    of their own.
    """
    tensors = load_file(folder / "golden.safetensors")
    path = folder / "errors.json"
    kept = {tensor: {field: value for field, value in entry.items() if not field.endswith(tuple(HALVES))}
            for tensor, entry in json.loads(path.read_text()).items()}
    entries = {tensor: entry for tensor, entry in kept.items() if entry}
    for suffix, dtype in HALVES.items():
        runs = list(kind.half_runs(name, folder, tensors, dtype))
        names = {n for run in runs for n in run}
        found = errors({n: tensors[n].double() for n in sorted(names)}, runs)
        for tensor, error in found.items():
            for field in ("maxAbsError", "meanAbsError"):
                if not math.isfinite(error[field]):
                    raise AssertionError(f"{name}: {tensor} is not finite in {dtype}")
                entries[tensor][field + suffix] = error[field]
        if hasattr(kind, "half_entries"):
            for entry, values in kind.half_entries(tensors, runs).items():
                entries.setdefault(entry, {}).update({field + suffix: value for field, value in values.items()})
    write_json(path, entries)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_golden(folder, inputs, reference, fp32_runs, about=None):
    """golden.safetensors (inputs, and the fp64 results rounded to fp32), errors.json and, with `about`, golden.json."""
    tensors = {**inputs, **reference}
    tensors = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    save_file(tensors, folder / "golden.safetensors")
    write_json(folder / "errors.json", errors(reference, fp32_runs))
    if about is not None:
        write_json(folder / "golden.json", about)


def write_config(folder, model, keys=None):
    """A diffusers model's config.json with all keys, or with only `keys` where a case imitates a published config."""
    config = json.loads(model.to_json_string())
    write_json(folder / "config.json", {k: v for k, v in config.items() if keys is None or k in keys})


def check_same_weights(model, loaded):
    """The folder just written must give back the model that the reference runs on."""
    want, got = model.state_dict(), loaded.state_dict()
    if want.keys() != got.keys() or not all(torch.equal(want[k], got[k].float()) for k in want):
        raise AssertionError("the written folder does not load as the model that was written")


def write_weights(folder, weights, dtype, shards=1, name="diffusion_pytorch_model"):
    """Weights in diffusers' layout: one file, or several with an index."""
    weights = {k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if shards == 1:
        save_file(weights, folder / f"{name}.safetensors", metadata={"format": "pt"})
        return
    names = list(weights)
    size = -(-len(names) // shards)
    weight_map = {}
    for i in range(shards):
        file = f"{name}-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i * size:(i + 1) * size]
        save_file({k: weights[k] for k in part}, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    total = sum(v.numel() * v.element_size() for v in weights.values())
    write_json(folder / f"{name}.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
