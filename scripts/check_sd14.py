"""The reference of `npm run check:sd14`: Stable Diffusion 1.4's architecture with seeded random weights.

    python scripts/check_sd14.py CONFIGS [--out .cache/sd14] [--threads N]

CONFIGS is a folder of SD 1.4's JSON configs in diffusers layout. Writes to OUT a whole model folder (fp16, 2.1 GB), and
golden.safetensors and errors.json as test/goldens/models/README.md describes them for a UNet, without masks: 64x64
latents, one row, 77 tokens; output, loss, the inputs' gradients and every K-V gradient, computed in fp64. Needs about
10 GB of memory.
"""
import argparse
import pathlib
import time

import torch

import random_model
from golden import common, unet


def evaluate(model, inputs):
    start = time.monotonic()
    result = unet.evaluate(model, inputs, unet.kv_parameters(model))
    print(f"{model.dtype}: {time.monotonic() - start:.0f} s", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(".cache/sd14"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    model = random_model.write(options.configs, options.out)
    inputs = {
        "sample": common.normal(11, 1, 4, 64, 64),
        "timesteps": torch.tensor([501], dtype=torch.int32),
        "encoder_hidden_states": common.normal(12, 1, 77, model.config.cross_attention_dim),
        "target": common.normal(13, 1, 4, 64, 64),
        "weights": torch.ones(1),
    }
    runs = [evaluate(model, inputs), evaluate(model.to(memory_format=torch.channels_last), inputs)]
    # Recomputing activations in the backward pass changes no bit and keeps fp64 within the memory of a laptop.
    model.double().enable_gradient_checkpointing()
    reference = evaluate(model.train(), inputs)
    common.write_golden(options.out, inputs, reference, runs)


if __name__ == "__main__":
    main()
