"""The four networks, in the classes and layouts of Stable Diffusion 1.x, and how they are written to disk."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig

import world
from config import Profile

DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
WEIGHTS = {"clip": "mini-clip/model.safetensors", "vae": f"mini/vae/{DIFFUSERS_WEIGHTS}", "unet": f"mini/unet/{DIFFUSERS_WEIGHTS}"}
M = TypeVar("M", bound=torch.nn.Module)
SCALING_FACTOR = 0.18215  # Stable Diffusion's; vae.py folds the latents' statistics into the model to make it fit


def vae(p: Profile) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=p.latent_channels, block_out_channels=p.vae_channels, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=8,
        sample_size=p.size, scaling_factor=SCALING_FACTOR)


def text_config(p: Profile, vocab_size: int) -> CLIPTextConfig:
    # eos_token_id=2 is what SD 1.x's config says; with it transformers pools at the highest id, which END has.
    return CLIPTextConfig(
        vocab_size=vocab_size, hidden_size=p.text_width, intermediate_size=p.text_mlp, num_hidden_layers=p.text_layers,
        num_attention_heads=p.text_width // 64, max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=256,
        bos_token_id=0, eos_token_id=2, pad_token_id=1)


def clip(p: Profile, vocab_size: int) -> CLIPModel:
    vision = CLIPVisionConfig(
        hidden_size=p.vision_width, intermediate_size=4 * p.vision_width, num_hidden_layers=p.vision_layers,
        num_attention_heads=p.vision_width // 64, image_size=p.size, patch_size=p.vision_patch, hidden_act="quick_gelu",
        projection_dim=256)
    return CLIPModel(CLIPConfig(text_config=text_config(p, vocab_size).to_dict(), vision_config=vision.to_dict(),
                                projection_dim=256))


def unet(p: Profile) -> UNet2DConditionModel:
    levels = len(p.unet_channels)
    return UNet2DConditionModel(
        sample_size=p.latent_size, in_channels=p.latent_channels, out_channels=p.latent_channels, block_out_channels=p.unet_channels,
        layers_per_block=p.unet_layers, down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels, cross_attention_dim=p.text_width,
        attention_head_dim=tuple(c // p.unet_head_dim for c in p.unet_channels), norm_num_groups=16)


def kv_names(model: UNet2DConditionModel) -> list[str]:
    """Names of the K-V weights (paper section 3.1): `to_k` and `to_v` of self- and cross-attention."""
    return [name for name, _ in model.named_parameters() if name.endswith(("to_k.weight", "to_v.weight"))]


SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.42.1", "num_train_timesteps": 1000,
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": None,
    "prediction_type": "epsilon", "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint",
    "lower_order_final": True, "thresholding": False, "timestep_spacing": "leading", "steps_offset": 1,
}


def _preprocessor(size: int) -> dict:
    """CLIP's picture preparation, at our size and with the [-1, 1] range that the picture tower was trained on."""
    return {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
            "size": {"shortest_edge": size}, "resample": 3, "do_center_crop": True,
            "crop_size": {"height": size, "width": size}, "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_model(model, folder: Path, weights: str, dtype: torch.dtype = torch.float16) -> None:
    """Config as the library writes it, weights as `dtype` safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder) if hasattr(model.config, "save_pretrained") else model.save_config(folder)
    tensors = {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    save_file(tensors, folder / weights, metadata={"format": "pt"})
    (folder / weights).chmod(0o644)  # save_file makes it unreadable to others


def export(out: Path, tokenizer_dir: Path, text: CLIPTextModel, unet_: UNet2DConditionModel, vae_: AutoencoderKL,
           dtype: torch.dtype = torch.float16) -> None:
    """Writes a complete diffusers folder for `StableDiffusionPipeline`."""
    _write_json(out / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None], "image_encoder": [None, None], "safety_checker": [None, None],
        "requires_safety_checker": False,
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"]})
    _write_json(out / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write_json(out / "identifiers.json", {"identifiers": list(world.IDENTIFIERS)})
    _write_json(out / "held-out.json", {
        "subjects": {name: subject.category for name, subject in world.SUBJECTS.items()},
        "noun_pairs": world.HELD_OUT_PAIRS, "noun_places": world.HELD_OUT_PLACES})
    CLIPTokenizer.from_pretrained(tokenizer_dir)  # fails here rather than at the reader's
    copy_tokenizer(tokenizer_dir, out / "tokenizer")
    write_model(text, out / "text_encoder", "model.safetensors", dtype)
    write_model(unet_, out / "unet", DIFFUSERS_WEIGHTS, dtype)
    write_model(vae_, out / "vae", DIFFUSERS_WEIGHTS, dtype)


def export_clip(out: Path, tokenizer_dir: Path, model: CLIPModel, dtype: torch.dtype = torch.float16) -> None:
    """Writes the CLIP pair in transformers' `CLIPModel` layout."""
    write_model(model, out, "model.safetensors", dtype)
    _write_json(out / "preprocessor_config.json", _preprocessor(model.config.vision_config.image_size))
    copy_tokenizer(tokenizer_dir, out)


def copy_tokenizer(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def warm_start(model: M, published: Path, part: str) -> M:
    """`model`, with the weights of this part (a key of WEIGHTS) of a published result wherever name and shape agree."""
    weights = published / WEIGHTS[part]
    own = model.state_dict()
    found = {k: v.float() for k, v in load_file(weights).items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(found, strict=False)
    print(f"{len(found)} of {len(own)} tensors from {weights}", flush=True)
    return model


def text_tower(model: CLIPModel) -> CLIPTextModel:
    """The text tower of a CLIP pair as the stand-alone model that a diffusers folder holds."""
    text = CLIPTextModel(model.config.text_config)
    own = text.state_dict()
    source = {k.removeprefix("text_model."): v for k, v in model.state_dict().items() if k.startswith("text_model.")}
    text.load_state_dict({k: source[k.removeprefix("text_model.")] for k in own})
    return text
