"""Search goldens: Algorithms A2 and 1 of the paper, written as plainly as its boxes.

Independent of cones: PyTorch's autograd, PyTorch's optimisers with their defaults.
"""
import copy

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
import diffusers.models.embeddings
import diffusers.schedulers.scheduling_ddim
from torch.func import functional_call

from . import common, unet

CROSS_DOWN, DOWN, CROSS_UP, UP = unet.CROSS_DOWN, unet.DOWN, unet.CROSS_UP, unet.UP
CONFIG = dict(block_out_channels=(16, 32), down_block_types=(DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, UP),
              layers_per_block=1, attention_head_dim=2, norm_num_groups=8, cross_attention_dim=24, sample_size=8)
SCHEDULE = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                prediction_type="epsilon")
STEPS, SUBJECT, PRIOR, LAMBDA = 5, 2, 2, 1.0

# The rates differ from the paper's where 5 steps of it would not be seen in fp32, or would never reach a clamp at 0.
RUNS = {
    "a2.adam": dict(algorithm="a2", optimizer="adam", learning_rate=6e-5, clamp=False),
    "a2.adam.clamp": dict(algorithm="a2", optimizer="adam", learning_rate=6e-5, clamp=True),
    "a2.adam.large.clamp": dict(algorithm="a2", optimizer="adam", learning_rate=0.4, clamp=True),
    "a2.sgd": dict(algorithm="a2", optimizer="sgd", learning_rate=20.0, clamp=False),
    "a2.sgd.clamp": dict(algorithm="a2", optimizer="sgd", learning_rate=500.0, clamp=True),
    "a2.sgd.straight-through": dict(algorithm="a2", optimizer="sgd", learning_rate=20.0, clamp=False, shut=600, ramp=2),
    "algorithm1.sgd": dict(algorithm="algorithm1", optimizer="sgd", learning_rate=20.0, clamp=False),
    "algorithm1.sgd.clamp": dict(algorithm="algorithm1", optimizer="sgd", learning_rate=500.0, clamp=True),
}
CASES = {"search": {}}
SEED = 1_000_000


def concept_loss(model, gamma, step):
    """L_con = L_sub + lambda L_pr (Eq. 2-4) with the noise predicted, omega_t = 1; K-V weights read from gamma."""
    predicted = functional_call(model, gamma, (step["noisy"], step["timesteps"], step["encoder_hidden_states"])).sample
    error = (common.widen(predicted) - step["noise"]).square().flatten(1).mean(1)
    return error[:SUBJECT].mean() + LAMBDA * error[SUBJECT:].mean()


def gradient_scale(model):
    return common.gradient_scale(model.dtype, model.config.out_channels * model.config.sample_size ** 2)


def straight_through(displacement, count):
    """1 - xi per parameter, in value 1 for the `count` highest and 0 for all others, with the gradient of 1 - xi."""
    flat = torch.cat([d.detach().flatten() for d in displacement.values()])
    mask = torch.zeros_like(flat)
    mask[flat.topk(count).indices] = 1
    masks = mask.split([d.numel() for d in displacement.values()])
    return {n: d + (m.view_as(d) - d).detach() for (n, d), m in zip(displacement.items(), masks)}


def algorithm_a2(model, steps, optimizer, learning_rate, clamp, shut=0, ramp=0):
    """K steps of gradient descent on xi, where theta is replaced by xi * theta; S sums theta * grad L.

    With `shut` theta is replaced by M * theta, M = 0 for that many weights; from none in the first step their number
    grows to all after `ramp` steps.

    The optimiser moves 1 - xi instead of xi, which is the same but for fp32: near 1 it would round steps of 6e-5 off.
    """
    theta = {n: common.widen(p) for n, p in unet.kv_parameters(model).items()}
    displacement = {n: torch.zeros_like(p, requires_grad=True) for n, p in theta.items()}
    score = {n: torch.zeros_like(p) for n, p in theta.items()}
    descend = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](displacement.values(), lr=learning_rate)
    losses = []
    for k, step in enumerate(steps):
        down = straight_through(displacement, round(shut * min(1, k / ramp))) if shut else displacement
        loss = concept_loss(model, {n: ((1 - down[n]) * theta[n]).to(model.dtype) for n in theta}, step)
        descend.zero_grad()
        scale = gradient_scale(model)
        (scale * loss).backward()
        for n in theta:
            displacement[n].grad /= scale
            score[n] -= displacement[n].grad  # by the chain rule -theta * grad L (Eq. A12)
        descend.step()
        if clamp:
            with torch.no_grad():
                for d in displacement.values():
                    d.clamp_(0, 1)
        losses.append(loss.detach())
    return {n: d.detach() for n, d in displacement.items()}, score, losses


def algorithm_1(model, steps, optimizer, learning_rate, clamp):
    """theta^(k+1) = theta^k (1 - rho theta^k grad L(theta^k)) (Eq. 11); S sums theta^k * grad L(theta^k).

    xi = theta^k / theta^1. Here an update follows each of the K gradients, as in Algorithm A2; the paper's M_p needs
    only the first K - 1.
    """
    first = {n: common.widen(p) for n, p in unet.kv_parameters(model).items()}
    theta = {n: p.clone() for n, p in first.items()}
    score = {n: torch.zeros_like(p) for n, p in first.items()}
    losses = []
    for step in steps:
        leaves = {n: p.detach().requires_grad_(True) for n, p in theta.items()}
        loss = concept_loss(model, {n: p.to(model.dtype) for n, p in leaves.items()}, step)
        scale = gradient_scale(model)
        gradients = dict(zip(leaves, torch.autograd.grad(scale * loss, leaves.values())))
        for n, g in gradients.items():
            g /= scale
            score[n] += theta[n] * g
            theta[n] = theta[n] * (1 - learning_rate * theta[n] * g)
            if clamp:
                theta[n] = (theta[n] / first[n]).clamp(0, 1) * first[n]
        losses.append(loss.detach())
    return {n: 1 - theta[n] / first[n] for n in theta}, score, losses


def noised(model, inputs):
    """The inputs in the precision that `model` computes in, and the noisy latents."""
    with common.float64_in(diffusers.schedulers.scheduling_ddim):
        alphas_cumprod = DDIMScheduler(**SCHEDULE).alphas_cumprod  # in fp64
    wide = common.wide(model.dtype)
    x = {k: v.to(wide) if v.is_floating_point() else v.long() for k, v in inputs.items()}
    alpha = alphas_cumprod[x["timesteps"]][..., None, None, None]
    return x, alpha.sqrt().to(wide) * x["latents"] + (1 - alpha).sqrt().to(wide) * x["noise"]


def search(model, inputs, rounding=0):
    """Every run's displacement 1 - xi and score per parameter and its losses [K]; and the noisy latents."""
    x, noisy = noised(model, inputs)
    rounded = common.round_to(model.dtype, noisy, rounding)
    steps = [dict(noisy=rounded[k], noise=x["noise"][k], timesteps=x["timesteps"][k],
                  encoder_hidden_states=x["encoder_hidden_states"].to(model.dtype)) for k in range(STEPS)]
    result = {"noisy": noisy}
    for name, run in RUNS.items():
        algorithm = {"a2": algorithm_a2, "algorithm1": algorithm_1}[run["algorithm"]]
        settings = {k: v for k, v in run.items() if k != "algorithm"}
        displacement, score, losses = algorithm(model, steps, **settings)
        result.update({f"{name}.displacement.{n}": v for n, v in displacement.items()})
        result.update({f"{name}.score.{n}": v for n, v in score.items()})
        result[f"{name}.losses"] = torch.stack(losses)
    return result


INPUTS = "latents noise timesteps encoder_hidden_states".split()
SELECTED = 600  # of the K-V weights, as many as the straight-through run shuts


def half_runs(name, folder, tensors, dtype):
    model = UNet2DConditionModel.from_pretrained(folder / "unet").to(dtype).eval().requires_grad_(False)
    for rounding in common.ROUNDINGS:
        for variant in unet.variants(model):
            result = search(variant, {k: tensors[k] for k in INPUTS}, rounding)
            yield {k: v for k, v in result.items() if k != "noisy"}


def half_entries(reference, runs):
    """<run>.selected.<ranking>: the lowest share of the SELECTED highest-ranked weights that a run has in common with fp64's.

    Not where equal values make that choice a matter of taste.
    """
    entries = {}
    for run in RUNS:
        for ranking in ("displacement", "score"):
            names = sorted(n for n in runs[0] if n.startswith(f"{run}.{ranking}."))

            def highest(result, count):
                return torch.cat([result[n].double().flatten() for n in names]).topk(count)

            def selected(result):
                return set(highest(result, SELECTED).indices.tolist())

            last, following = highest(reference, SELECTED + 1).values[-2:]
            if last == following:
                continue
            want = selected(reference)
            entries[f"{run}.selected.{ranking}"] = {
                "agreement": min(len(want & selected(result)) / SELECTED for result in runs)}
    return entries


def dump(name, folder):
    seed = SEED
    model = common.randomize(UNet2DConditionModel(**CONFIG), seed, torch.float32)
    unet.write(folder / "unet", model, torch.float32)

    rows = SUBJECT + PRIOR
    inputs = {
        "latents": common.normal(seed + 1, STEPS, rows, 4, 8, 8),
        "noise": common.normal(seed + 2, STEPS, rows, 4, 8, 8),
        "timesteps": torch.randint(0, 1000, (STEPS, rows), generator=common.generator(seed + 3)).int(),
        "encoder_hidden_states": common.normal(seed + 4, rows, 12, CONFIG["cross_attention_dim"]),
    }
    with common.float64_in(diffusers.models.embeddings):
        reference = search(copy.deepcopy(model).double(), inputs)
    runs = [search(variant, inputs) for variant in unet.variants(model)]
    about = {"schedule": SCHEDULE, "subject": SUBJECT, "prior": PRIOR, "lambda": LAMBDA, "runs": RUNS}
    common.write_golden(folder, inputs, reference, runs, about)
