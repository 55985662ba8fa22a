"""Dump trajectories of diffusers' samplers that begin in the middle, from a noised picture, into test/goldens/schedule-start.json.

    python scripts/golden_start.py

As StableDiffusionImg2ImgPipeline: the first `start` steps are left out, `add_noise` makes the latents of a picture, and the scheduler is
told its begin index. `known` is what StableDiffusionInpaintPipeline blends in after each step but the last: the picture with the same
noise at the next step's level. "UNet", noise and precisions are those of golden_schedule.py.

LMSDiscreteScheduler 0.42.1 takes the weights of four slopes where it begins, though it has one: its steps do not add up. There the
scheduler is given the later noise levels as if they were all, which is what k-diffusion's callers do.
"""
import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch

from golden_schedule import KARRAS, SAMPLERS, SD14, build, toy_noise, toy_unet

IMAGE, NOISE = [0.9, -0.4], [0.7, -1.3]


def trajectory(sampler, config, steps, start, dtype):
    scheduler = build(sampler, config, dtype)
    scheduler.set_timesteps(steps)
    begin = start * scheduler.order
    timesteps = scheduler.timesteps[begin:]
    if sampler == "lms":
        scheduler.timesteps, scheduler.sigmas = timesteps, scheduler.sigmas[begin:]
        begin = 0
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    batch = (1, 2)
    image, noise = (torch.tensor(values, dtype=dtype).reshape(batch) for values in (IMAGE, NOISE))
    x = scheduler.add_noise(image, noise, timesteps[:1])
    first, rows, known = x.flatten().tolist(), [], []
    for i, t in enumerate(timesteps):
        output = toy_unet(scheduler.scale_model_input(x, t), float(t))
        fresh = torch.tensor(toy_noise(i), dtype=dtype).reshape(batch)
        module = sys.modules[type(scheduler).__module__]
        if hasattr(module, "randn_tensor"):
            module.randn_tensor = lambda *args, fresh=fresh, **kwargs: fresh
        x = scheduler.step(output, t, x).prev_sample
        rows.append(x.flatten().tolist())
        if i + 1 < len(timesteps):
            known.append(scheduler.add_noise(image, noise, timesteps[i + 1:i + 2]).flatten().tolist())
    return first, np.array(rows, dtype=np.float64), np.array(known, dtype=np.float64).reshape(-1, 2), timesteps


def numbers(rows):
    return [[float(f"{v:.12g}") for v in row] for row in rows]


def case(sampler, changes, steps, start):
    config = {**SD14, **changes}
    plain = trajectory(sampler, config, steps, start, torch.float32)
    first, rows, known, timesteps = trajectory(sampler, config, steps, start, torch.float64)
    assert np.isfinite(rows).all(), (sampler, changes, steps, start)
    error = max(np.abs(a - b).max(initial=0) for a, b in zip(plain[:3], (first, rows, known), strict=True) for a, b in [(np.array(a), np.array(b))])
    return {
        "sampler": sampler, "config": changes, "steps": steps, "start": start, "timesteps": [float(t) for t in plain[3]],
        "timestep_error": float(f"{(plain[3].double() - timesteps.double()).abs().max():.3g}"),
        "first": numbers([first])[0], "trajectory": numbers(rows), "known": numbers(known), "fp32_error": float(f"{error:.3g}"),
    }


def cases():
    for sampler in SAMPLERS:
        for steps, start in [(5, 0), (5, 1), (5, 4), (10, 2), (10, 3), (10, 7)]:
            yield case(sampler, {}, steps, start)
        yield case(sampler, {"prediction_type": "v_prediction", "beta_schedule": "linear"}, 8, 3)
        if sampler in KARRAS or sampler in ("euler", "dpm-solver-multistep"):
            yield case(sampler, {"use_karras_sigmas": True}, 10, 4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    head = json.dumps({"diffusers": diffusers.__version__, "image": IMAGE, "noise": NOISE}, separators=(",", ":"))
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases())
    path = Path(__file__).parent.parent / "test/goldens/schedule-start.json"
    path.write_text(f'{head[:-1]},\n"cases":[\n{rows}\n]}}\n')
    print(path, path.stat().st_size, "bytes")
