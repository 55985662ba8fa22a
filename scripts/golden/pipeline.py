"""A whole small model, and pictures drawn with it: guided trajectories of diffusers' samplers, and one decoded."""
import copy

import diffusers.models.embeddings
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler,
                       UNet2DConditionModel)
from diffusers.schedulers import scheduling_ddim, scheduling_dpmsolver_multistep, scheduling_euler_discrete
from transformers import CLIPTokenizer

from . import clip, common, unet, vae

CASES = {"pipeline": {}}

TEXT = dict(hidden_act="quick_gelu", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            vocab_size=514, max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513,
            architectures=["CLIPTextModel"])
UNET = dict(block_out_channels=(16, 32), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1, attention_head_dim=2,
            norm_num_groups=8, cross_attention_dim=32, sample_size=8)
VAE = dict(block_out_channels=(8, 8, 16, 16), **vae.blocks(4), layers_per_block=1, latent_channels=4, norm_num_groups=4,
           sample_size=64, scaling_factor=0.18215)
# As Stable Diffusion 1.4's scheduler_config.json; the samplers are made from it as diffusers' users do.
SCHEDULER = dict(_class_name="PNDMScheduler", beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085,
                 num_train_timesteps=1000, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1,
                 trained_betas=None, clip_sample=False)
MODEL_INDEX = dict(
    _class_name="StableDiffusionPipeline", feature_extractor=[None, None], safety_checker=[None, None],
    scheduler=["diffusers", "PNDMScheduler"], text_encoder=["transformers", "CLIPTextModel"],
    tokenizer=["transformers", "CLIPTokenizer"], unet=["diffusers", "UNet2DConditionModel"],
    vae=["diffusers", "AutoencoderKL"])
SAMPLERS = {"dpm-solver-multistep": DPMSolverMultistepScheduler, "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
FLOAT64 = (diffusers.models.embeddings, scheduling_ddim, scheduling_dpmsolver_multistep, scheduling_euler_discrete)

PROMPT, NEGATIVE, GUIDANCE = "a V1* cat on the beach", "blurry", 7.5
# steps: after how many of them the latents are recorded
RECORD = {4: (1, 2, 3, 4), 50: (1, 25, 50)}
RUNS = {f"{sampler}.{steps}.{prediction}": dict(sampler=sampler, steps=steps, predictionType=prediction,
                                                guidance=GUIDANCE, record=RECORD[steps])
        for sampler in SAMPLERS for steps in RECORD for prediction in ("epsilon", "v_prediction")}
DECODED = "dpm-solver-multistep.50.epsilon"


def write_tokenizer(folder):
    """CLIP's byte-level vocabulary without a single merge: every letter is a token."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    tokens = symbols + [s + "</w>" for s in symbols] + ["<|startoftext|>", "<|endoftext|>"]
    common.write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
               "pad_token": "<|endoftext|>"}
    common.write_json(folder / "special_tokens_map.json", special)
    common.write_json(folder / "tokenizer_config.json",
                      {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
                       "errors": "replace", "add_prefix_space": False})
    return CLIPTokenizer.from_pretrained(folder)


@torch.no_grad()
def draw(models, inputs, folder):
    """The result of every run, in the precision of the models."""
    text_encoder, unet_model, autoencoder = models
    dtype = unet_model.dtype
    states = [text_encoder(inputs[ids]).last_hidden_state for ids in ("negative_ids", "prompt_ids")]
    result = {"negative_encoder_hidden_states": states[0], "encoder_hidden_states": states[1]}
    config = PNDMScheduler.from_pretrained(folder / "scheduler").config
    for name, run in RUNS.items():
        scheduler = SAMPLERS[run["sampler"]].from_config(config, prediction_type=run["predictionType"])
        scheduler.set_timesteps(run["steps"])
        result[f"{name}.timesteps"] = scheduler.timesteps.to(torch.float64)
        sigma = torch.as_tensor(scheduler.init_noise_sigma, dtype=dtype)
        result[f"{name}.init_noise_sigma"] = sigma
        latents = inputs["noise"].to(dtype) * sigma
        for i, t in enumerate(scheduler.timesteps):
            both = scheduler.scale_model_input(torch.cat([latents] * 2), t)
            negative, positive = unet_model(both, t, torch.cat(states)).sample.chunk(2)
            latents = scheduler.step(negative + run["guidance"] * (positive - negative), t, latents).prev_sample
            if i + 1 in run["record"]:
                result[f"{name}.latents.{i + 1}"] = latents
        if latents.dtype != dtype:
            raise AssertionError("the sampler changed the precision")
    last = result[f"{DECODED}.latents.{RUNS[DECODED]['steps']}"]
    result["decoded"] = autoencoder.decode((last / autoencoder.config.scaling_factor).to(autoencoder.dtype)).sample
    return result


def half_runs(name, folder, tensors, dtype):
    """The autoencoder is bf16 in both, as in cones."""
    text_encoder = clip.load(folder / "text_encoder", dtype)
    unet_model = UNet2DConditionModel.from_pretrained(folder / "unet").to(dtype).eval()
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae").to(torch.bfloat16).eval()
    for models in zip([text_encoder] * 4, unet.variants(unet_model), vae.variants(autoencoder)):
        result = draw(models, tensors, folder)
        yield {k: v for k, v in result.items() if not k.endswith((".timesteps", ".init_noise_sigma"))}


def dump(name, folder):
    seed, dtype = 2_000_000, torch.float16
    text_encoder = clip.build(TEXT, seed, dtype)
    unet_model = common.randomize(UNet2DConditionModel(**UNET), seed + 1, dtype)
    autoencoder = common.randomize(AutoencoderKL(**VAE), seed + 2, dtype)
    clip.write(folder / "text_encoder", text_encoder, dtype, clip.SD1_KEYS)
    unet.write(folder / "unet", unet_model, dtype)
    vae.write(folder / "vae", autoencoder, dtype)
    common.write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    common.write_json(folder / "model_index.json", MODEL_INDEX)
    tokenizer = write_tokenizer(folder / "tokenizer")

    def ids(text):
        return torch.tensor([tokenizer(text, padding="max_length", max_length=77).input_ids], dtype=torch.int32)

    inputs = {"prompt_ids": ids(PROMPT), "negative_ids": ids(NEGATIVE), "noise": common.normal(seed + 3, 1, 4, 8, 8)}
    models = text_encoder, unet_model, autoencoder
    with common.float64_in(*FLOAT64):
        reference = draw([copy.deepcopy(m).double() for m in models], inputs, folder)
    runs = [draw(variants, inputs, folder) for variants in
            zip([text_encoder] * 4, unet.variants(unet_model), vae.variants(autoencoder))]
    about = {"prompt": PROMPT, "negativePrompt": NEGATIVE, "runs": RUNS, "decoded": DECODED}
    common.write_golden(folder, inputs, reference, runs, about)
