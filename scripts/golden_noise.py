"""Dump diffusers' timesteps, noise levels and noised samples into test/goldens/noise.json.

    python scripts/golden_noise.py

With the scheduler config of test/goldens/models/pipeline (Stable Diffusion 1.4's). `error` is the largest relative difference between
diffusers' fp32 values and the same formulas in fp64 on its fp32 table of alphas_cumprod: what its own rounding costs.
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

assert diffusers.__version__ == "0.42.1", diffusers.__version__
ROOT = Path(__file__).resolve().parent.parent / "test" / "goldens"
CONFIG = json.loads((ROOT / "models/pipeline/scheduler/scheduler_config.json").read_text())


def levels(name, cls, steps):
    scheduler = cls.from_config(CONFIG)
    scheduler.set_timesteps(steps)
    case = {"sampler": name, "steps": steps, "timesteps": scheduler.timesteps.tolist(), "initial_noise_scale": float(scheduler.init_noise_sigma)}
    if name != "ddim":  # which has none
        table = ((1 - scheduler.alphas_cumprod.double()) / scheduler.alphas_cumprod.double()).sqrt()
        at = scheduler.timesteps.double()
        low = at.floor().long().clamp(max=len(table) - 2)
        exact = table[low] + (at - low) * (table[low + 1] - table[low])
        sigmas = scheduler.sigmas.double()
        case |= {"sigmas": sigmas.tolist(), "error": float(((sigmas[:-1] - exact) / exact).abs().max())}
    return case


def noised():
    scheduler = DDIMScheduler.from_config(CONFIG)
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(3, 2, 2, 3, generator=generator) for _ in range(2))
    timesteps = torch.tensor([0, 500, 999])
    alphas = scheduler.alphas_cumprod.double()[timesteps].reshape(3, 1, 1, 1)
    noisy = scheduler.add_noise(x, noise, timesteps)
    velocity = scheduler.get_velocity(x, noise, timesteps)
    exact = alphas.sqrt() * x + (1 - alphas).sqrt() * noise
    values = {"latents": x, "noise": noise, "noisy": noisy, "velocity": velocity}
    return {"timesteps": timesteps.tolist(), **{k: v.flatten().tolist() for k, v in values.items()}, "error": float((noisy - exact).abs().max())}


samplers = {"dpm-solver-multistep": DPMSolverMultistepScheduler, "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
cases = [levels(name, cls, steps) for name, cls in samplers.items() for steps in (1, 4, 50)]
(ROOT / "noise.json").write_text(json.dumps({"diffusers": diffusers.__version__, "schedules": cases, "noised": noised()}) + "\n")
