"""Writes a model folder with seeded random fp16 weights from a folder of JSON configs in diffusers layout.

    python scripts/random_model.py CONFIGS OUT

For checks and timings at full size where no checkpoint is at hand. CONFIGS needs unet/, vae/, text_encoder/ and
scheduler/ with their configs; without tokenizer/vocab.json the folder gets a tokenizer of single letters.
Stable Diffusion 1.4's configs give 2.1 GB.
"""
import json
import pathlib
import shutil
import sys

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from golden import clip, common, pipeline, unet, vae

DTYPE = torch.float16
SEEDS = {"unet": 1, "vae": 2, "text_encoder": 3}


def read_json(path):
    return json.loads(path.read_text())


def write_unet(configs, out):
    """Writes unet/ and returns the model in fp32."""
    model = UNet2DConditionModel.from_config(read_json(configs / "unet" / "config.json"))
    common.randomize(model, SEEDS["unet"], DTYPE)
    unet.write(out / "unet", model, DTYPE)
    return model


def write_vae(configs, out):
    model = AutoencoderKL.from_config(read_json(configs / "vae" / "config.json"))
    vae.write(out / "vae", common.randomize(model, SEEDS["vae"], DTYPE), DTYPE)


def write_text_encoder(configs, out):
    config = read_json(configs / "text_encoder" / "config.json")
    clip.write(out / "text_encoder", clip.build(config, SEEDS["text_encoder"], DTYPE), DTYPE, clip.SD1_KEYS)


def write_rest(configs, out):
    shutil.copytree(configs / "scheduler", out / "scheduler", dirs_exist_ok=True)
    if (configs / "tokenizer" / "vocab.json").exists():
        shutil.copytree(configs / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    else:
        pipeline.write_tokenizer(out / "tokenizer")
    common.write_json(out / "model_index.json", pipeline.MODEL_INDEX)


def write(configs, out):
    """A folder that loads as a Stable Diffusion pipeline; returns its UNet in fp32."""
    write_rest(configs, out)
    write_text_encoder(configs, out)
    write_vae(configs, out)
    return write_unet(configs, out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
