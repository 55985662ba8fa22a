"""Dump noise schedules and sampler trajectories of diffusers into test/goldens/schedule.json.

    python scripts/golden_schedule.py

The "UNet" is an affine function of its input and the timestep, so that a test can run the same
trajectory. Every case is run twice: as diffusers ships it (fp32), and with the same fp32 table of
alphas_cumprod but all later arithmetic in fp64, which is the reference. Their largest difference is
recorded as `fp32_error`: what diffusers' own rounding costs on that trajectory.
"""

import importlib.util
import inspect
import json
import sys
import types
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)

assert diffusers.__version__ == "0.42.1", diffusers.__version__

SAMPLERS = {
    "dpm-solver-multistep": DPMSolverMultistepScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-ancestral": EulerAncestralDiscreteScheduler,
    "heun": HeunDiscreteScheduler,
    "kdpm2": KDPM2DiscreteScheduler,
    "kdpm2-ancestral": KDPM2AncestralDiscreteScheduler,
    "lms": LMSDiscreteScheduler,
    "pndm": PNDMScheduler,
    "dpm-solver-multistep-sde": DPMSolverMultistepScheduler,
    "dpm-solver-singlestep": DPMSolverSinglestepScheduler,
    "unipc-multistep": UniPCMultistepScheduler,
    "lcm": LCMScheduler,
    "tcd": TCDScheduler,
    "deis-multistep": DEISMultistepScheduler,
}
KARRAS = ["heun", "kdpm2", "kdpm2-ancestral", "lms", "dpm-solver-multistep-sde", "dpm-solver-singlestep", "unipc-multistep", "deis-multistep"]
EARLIEST = ["dpm-solver-multistep", "ddim", "euler"]
# Stable Diffusion 1.4's scheduler_config.json.
SD14 = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
STEPS = [1, 2, 4, 10, 20, 50]
X_START = [0.7, -1.3]


def fp64_class(cls):
    """The same scheduler with its arithmetic in fp64 (timesteps stay fp32: the UNet sees them so)."""
    source = inspect.getsource(sys.modules[cls.__module__]).replace("float32", "float64")
    source = source.replace("num_inference_steps, dtype=np.float64", "num_inference_steps, dtype=np.float32")
    module = types.ModuleType(cls.__module__ + "_fp64")
    module.__package__ = "diffusers.schedulers"
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return getattr(module, cls.__name__)


ADDED = {"dpm-solver-multistep-sde": {"algorithm_type": "sde-dpmsolver++"}}
FP64 = {name: fp64_class(cls) for name, cls in SAMPLERS.items()}


def toy_unet(x, t):
    return 0.6 * x + 0.3 - 0.5 * (t / 1000) ** 2


def toy_noise(step):
    return [((step * 7) % 5 - 2) / 2, ((step * 3) % 7 - 3) / 3]


def build(sampler, config, dtype):
    config = {**config, **ADDED.get(sampler, {})}
    plain = SAMPLERS[sampler].from_config(config)
    if dtype == torch.float32:
        return plain
    scheduler = FP64[sampler].from_config(config)
    scheduler.alphas_cumprod = plain.alphas_cumprod.double()
    if sampler in ("ddim", "pndm", "lcm", "tcd"):
        scheduler.final_alpha_cumprod = plain.final_alpha_cumprod.double()
    return scheduler


def trajectory(sampler, config, steps, eta, dtype):
    scheduler = build(sampler, config, dtype)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        # Else diffusers looks its first step up by timestep, and skips one where Karras timesteps repeat.
        scheduler.set_begin_index(0)
    batch = (1, 2) if sampler == "unipc-multistep" else (2,)  # it wants a batch
    x = torch.tensor(X_START, dtype=dtype).reshape(batch) * scheduler.init_noise_sigma
    rows = []
    for i, t in enumerate(scheduler.timesteps):
        output = toy_unet(scheduler.scale_model_input(x, t), float(t))
        noise = torch.tensor(toy_noise(i), dtype=dtype)
        extra = {}
        if sampler == "ddim" and eta:
            extra = {"eta": eta, "variance_noise": noise}
        elif sampler == "tcd":
            extra = {"eta": eta}
        module = sys.modules[type(scheduler).__module__]
        if hasattr(module, "randn_tensor"):
            module.randn_tensor = lambda *args, noise=noise, **kwargs: noise
        x = scheduler.step(output, t, x, **extra).prev_sample
        assert x.dtype == dtype
        rows.append(x.flatten().tolist())
    return scheduler, np.array(rows, dtype=np.float64)


def case(sampler, changes, steps, eta=0.0):
    config = {**SD14, **changes}
    if config.get("timestep_spacing", "") is None:
        del config["timestep_spacing"]
    plain, rows32 = trajectory(sampler, config, steps, eta, torch.float32)
    exact, rows = trajectory(sampler, config, steps, eta, torch.float64)
    assert np.isfinite(rows).all(), (sampler, changes, steps)
    return {
        "sampler": sampler,
        "config": changes,
        "steps": steps,
        "eta": eta,
        "initial_noise_scale": float(plain.init_noise_sigma),
        "timesteps": [float(t) for t in plain.timesteps],
        # Not zero for Karras spacing only: there timesteps are looked up by the logarithm of sigma.
        "timestep_error": float(f"{(plain.timesteps.double() - exact.timesteps.double()).abs().max():.3g}"),
        "trajectory": [[float(f"{v:.12g}") for v in row] for row in rows],
        "fp32_error": float(f"{np.abs(rows32 - rows).max():.3g}"),
    }


def cases():
    for sampler in SAMPLERS:
        if sampler not in EARLIEST:
            yield from more_cases(sampler)
            continue
        for schedule in ["linear", "scaled_linear", "squaredcos_cap_v2"]:
            for prediction in ["epsilon", "v_prediction"]:
                for steps in STEPS:
                    yield case(sampler, {"beta_schedule": schedule, "prediction_type": prediction}, steps)
        for spacing in ["leading", "linspace", "trailing"]:
            for steps in [1, 3, 7, 30]:  # 3, 7, 30: do not divide 1000
                yield case(sampler, {"timestep_spacing": spacing}, steps)
        yield case(sampler, {"timestep_spacing": "trailing"}, 48)  # timesteps halfway between two, by NumPy's rounding of its step
        yield case(sampler, {"timestep_spacing": "leading", "steps_offset": 0}, 10)
        yield case(sampler, {"num_train_timesteps": 100}, 10)
        yield case(sampler, {"trained_betas": [0.001 * (i + 1) for i in range(20)], "num_train_timesteps": 20}, 6)
        zero_snr = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
        yield case(sampler, zero_snr, 10)
    for steps in [10, 25]:
        for schedule in ["scaled_linear", "squaredcos_cap_v2"]:
            yield case("euler", {"use_karras_sigmas": True, "beta_schedule": schedule}, steps)
        yield case("dpm-solver-multistep", {"use_karras_sigmas": True}, steps)
        yield case("ddim", {"set_alpha_to_one": True}, steps)
        for eta in [0.5, 1.0]:
            yield case("ddim", {}, steps, eta)
            yield case("ddim", {"set_alpha_to_one": True, "prediction_type": "v_prediction"}, steps, eta)


def more_cases(sampler):
    distilled = sampler in ("lcm", "tcd")  # up to 50 steps, whatever the spacing
    for schedule in ["scaled_linear", "squaredcos_cap_v2"]:
        for prediction in ["epsilon", "v_prediction"]:
            for steps in [1, 2, 5, 20]:
                # Where its fp32 says NaN: a rounding below zero under a root.
                if sampler == "kdpm2-ancestral" and schedule == "squaredcos_cap_v2" and steps in (2, 5):
                    continue
                yield case(sampler, {"beta_schedule": schedule, "prediction_type": prediction}, steps)
    for spacing in ["leading", "linspace", "trailing"]:
        for steps in [3, 30]:
            if not distilled:
                yield case(sampler, {"timestep_spacing": spacing}, steps)
    if sampler in KARRAS:
        for steps in [4, 10, 25]:
            yield case(sampler, {"use_karras_sigmas": True}, steps)
    if sampler == "pndm":
        yield case(sampler, {"set_alpha_to_one": True}, 10)
    if distilled:
        yield case(sampler, {"original_inference_steps": 30}, 7)
    if sampler == "lcm":
        yield case(sampler, {"timestep_scaling": 0.5}, 4)
    if sampler == "tcd":
        for eta in [0.3, 1.0]:
            for steps in [1, 4, 20]:
                yield case(sampler, {}, steps, eta)
    zero_snr = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    if sampler in ("euler-ancestral", "dpm-solver-multistep-sde", "unipc-multistep", "lcm", "tcd", "heun", "pndm"):
        yield case(sampler, zero_snr, 10)


def tables():
    """alphas_cumprod at a few timesteps, and how far fp32 betas and products take them from fp64 ones."""
    for schedule in ["linear", "scaled_linear", "squaredcos_cap_v2"]:
        for rescale in [False, True]:
            config = {**SD14, "beta_schedule": schedule, "rescale_betas_zero_snr": rescale}
            table = DDIMScheduler.from_config(config).alphas_cumprod
            exact = FP64["ddim"].from_config(config).alphas_cumprod
            timesteps = [0, 1, 2, 10, 100, 250, 500, 750, 990, 998, 999]
            yield {
                "config": {"beta_schedule": schedule, "rescale_betas_zero_snr": rescale},
                "timesteps": timesteps,
                "alphas_cumprod": [float(table[t]) for t in timesteps],
                "fp32_error": float(f"{(table.double() - exact).abs().max():.3g}"),
            }


if __name__ == "__main__":
    torch.set_num_threads(1)
    golden = {
        "diffusers": diffusers.__version__,
        "base_config": SD14,
        "x_start": X_START,
        "tables": list(tables()),
        "cases": list(cases()),
    }
    path = Path(__file__).parent.parent / "test/goldens/schedule.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in golden.pop("cases"))
    head = json.dumps(golden, separators=(",", ":"))
    path.write_text(f'{head[:-1]},\n"cases":[\n{rows}\n]}}\n')
    print(path, path.stat().st_size, "bytes")
