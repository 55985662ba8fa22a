"""Writes test/goldens/adapters: LoRAs, words of textual inversion and weights of Custom Diffusion for the model of
test/goldens/models/pipeline, and what diffusers draws with them (latents of three steps).

    python scripts/golden_adapters.py
"""
import math
import pathlib
import shutil
import tempfile

import diffusers.models.embeddings
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor
from diffusers.schedulers import scheduling_dpmsolver_multistep
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from golden import common

ROOT = common.ROOT.parent / "adapters"
MODEL = common.ROOT / "pipeline"
TWIN = pathlib.Path(tempfile.mkdtemp())
STEPS, GUIDANCE, PROMPT, NEGATIVE = 3, 7.5, "a cat on the beach", "blurry"
HALF = torch.float16


def pipeline(dtype=torch.float32):
    pipe = StableDiffusionPipeline.from_pretrained(MODEL, torch_dtype=dtype, local_files_only=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def randomize_lora(model, seed):
    """B is zero in a new LoRA; here no term vanishes."""
    g = common.generator(seed)
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = (torch.randn(p.shape, generator=g) / math.sqrt(p[0].numel())).to(HALF).float()


def write_diffusers():
    pipe = pipeline()
    unet = LoraConfig(r=4, lora_alpha=6, target_modules=["to_k", "to_q", "to_v", "to_out.0", "ff.net.0.proj", "proj_in"],
                      alpha_pattern={"attn2.to_k": 2})
    text = LoraConfig(r=3, lora_alpha=3, target_modules=["q_proj", "k_proj", "v_proj", "out_proj", "fc1"])
    pipe.unet.add_adapter(unet)
    pipe.text_encoder.add_adapter(text)
    randomize_lora(pipe.unet, 1)
    randomize_lora(pipe.text_encoder, 2)
    layers = [{k: v.to(HALF) for k, v in get_peft_model_state_dict(m).items()} for m in (pipe.unet, pipe.text_encoder)]
    metadata = [{k: sorted(v) if isinstance(v, set) else v for k, v in c.to_dict().items()} for c in (unet, text)]
    StableDiffusionPipeline.save_lora_weights(ROOT, unet_lora_layers=layers[0], text_encoder_lora_layers=layers[1],
                                              weight_name="diffusers.safetensors", unet_lora_adapter_metadata=metadata[0],
                                              text_encoder_lora_adapter_metadata=metadata[1])


def kohya(prefix, modules, seed, rename=lambda name: name):
    """Every module its own rank and alpha."""
    g = common.generator(seed)
    tensors = {}
    for i, (name, module) in enumerate(modules):
        rank, weight = 1 + i % 5, module.weight
        window = weight.shape[2:]
        key = prefix + rename(name).replace(".", "_")
        tensors[f"{key}.lora_down.weight"] = torch.randn((rank, *weight.shape[1:]), generator=g) / math.sqrt(weight[0].numel())
        tensors[f"{key}.lora_up.weight"] = torch.randn((weight.shape[0], rank, *[1 for _ in window]), generator=g) / math.sqrt(rank)
        tensors[f"{key}.alpha"] = torch.tensor(float(rank) * (0.5 + 0.25 * (i % 3)))
    return {k: v.to(HALF).contiguous() for k, v in tensors.items()}


def layers_of(model, ends):
    return [(name, module) for name, module in model.named_modules() if name.endswith(ends)]


# The model's blocks under CompVis's names; one level with attention, one without.
COMPVIS = {"down_blocks.0.attentions.0": "input_blocks.1.1", "mid_block.attentions.0": "middle_block.1",
           "up_blocks.1.attentions.0": "output_blocks.2.1", "up_blocks.1.attentions.1": "output_blocks.3.1"}


def compvis(name):
    module = next(module for module in COMPVIS if name.startswith(module + "."))
    return COMPVIS[module] + name[len(module):]


def write_kohya():
    pipe = pipeline()
    attention = ("to_k", "to_q", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
    text = kohya("lora_te_", layers_of(pipe.text_encoder, ("q_proj", "v_proj", "out_proj", "fc1", "fc2")), 11,
                 lambda name: name if name.startswith("text_model.") else "text_model." + name)
    save_file({**kohya("lora_unet_", layers_of(pipe.unet, attention), 10), **text}, ROOT / "kohya.safetensors")
    convolutions = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj", "to_v")
    save_file(kohya("lora_unet_", layers_of(pipe.unet, convolutions), 12), ROOT / "locon.safetensors")
    names = [(name, module) for name, module in layers_of(pipe.unet, attention) if name.split(".transformer")[0].rsplit(".proj", 1)[0] in COMPVIS]
    save_file(kohya("lora_unet_", names, 13, compvis), ROOT / "compvis.safetensors")
    # diffusers reads these names of SDXL alone: it gets the same numbers under its own.
    save_file(kohya("lora_unet_", names, 13), TWIN / "compvis.safetensors")


def write_words():
    g = common.generator(20)
    save_file({"<toy>": (torch.randn(3, 32, generator=g) * 0.5).contiguous()}, ROOT / "learned_embeds.safetensors")
    vectors = torch.randn(2, 32, generator=g) * 0.5
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "<webui>", "step": 500,
                "sd_checkpoint": "0123abcd", "sd_checkpoint_name": "tiny"}, ROOT / "webui.pt")


def write_custom_diffusion():
    pipe = pipeline()
    g = common.generator(30)
    processors = {}
    for name, processor in pipe.unet.attn_processors.items():
        attention = pipe.unet.get_submodule(name.removesuffix(".processor"))
        if ".attn1." in name:
            processors[name] = CustomDiffusionAttnProcessor(train_kv=False, train_q_out=False)
            continue
        made = CustomDiffusionAttnProcessor(train_kv=True, train_q_out=True, hidden_size=attention.to_q.weight.shape[0],
                                            cross_attention_dim=attention.to_k.weight.shape[1])
        for p in made.parameters():
            p.data = torch.randn(p.shape, generator=g) * (0.2 if p.ndim == 1 else 1 / math.sqrt(p.shape[-1]))
        processors[name] = made
    pipe.unet.set_attn_processor(processors)
    pipe.unet.save_attn_procs(ROOT, safe_serialization=False)


def load(pipe, *names):
    for name in names:
        file = f"{name}.safetensors"
        file = (TWIN if (TWIN / file).exists() else ROOT) / file
        pipe.load_lora_weights(file, adapter_name=name)
        correct_alphas(pipe, name, load_file(file))


def correct_alphas(pipe, name, tensors):
    """diffusers 0.42 loses some layers' alphas where they differ (of to_v, which several layers' names end in); kohya's
    definition of the file is alpha / rank."""
    for prefix, model in (("lora_unet_", pipe.unet), ("lora_te_", pipe.text_encoder)):
        for module_name, module in model.named_modules():
            if name not in getattr(module, "lora_A", {}):
                continue
            if prefix == "lora_te_" and not module_name.startswith("text_model."):
                module_name = "text_model." + module_name
            alpha = tensors.get(f"{prefix}{module_name.replace('.', '_')}.alpha")
            if alpha is not None:
                module.lora_alpha[name] = alpha.item()
                module.scaling[name] = alpha.item() / module.r[name]


def with_weights(**weights):
    def prepare(pipe):
        load(pipe, *weights)
        pipe.set_adapters(list(weights), list(weights.values()))
    return prepare


def custom_diffusion(pipe):
    # Without its pipeline it loads and sets nothing.
    pipe.unet.load_attn_procs(ROOT, weight_name="pytorch_custom_diffusion_weights.bin", _pipeline=pipe)


# What is done to the pipeline, and the prompt.
CASES = {
    "plain": (lambda pipe: None, PROMPT),
    "diffusers": (lambda pipe: load(pipe, "diffusers"), PROMPT),
    "diffusers.0.7": (with_weights(diffusers=0.7), PROMPT),
    "kohya": (lambda pipe: load(pipe, "kohya"), PROMPT),
    "locon": (lambda pipe: load(pipe, "locon"), PROMPT),
    "compvis": (lambda pipe: load(pipe, "compvis"), PROMPT),
    "several": (with_weights(kohya=0.8, locon=-0.5, diffusers=0.3), PROMPT),
    "words": (lambda pipe: pipe.load_textual_inversion(ROOT / "learned_embeds.safetensors"), "a <toy> on the beach"),
    "webui": (lambda pipe: pipe.load_textual_inversion(ROOT / "webui.pt"), "a <webui> on the beach"),
    "custom-diffusion": (custom_diffusion, PROMPT),
}


@torch.no_grad()
def draw(name, dtype, noise):
    prepare, prompt = CASES[name]
    pipe = pipeline()
    prepare(pipe)
    pipe.to(dtype)
    return pipe(prompt, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise.to(dtype),
                output_type="latent").images


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    write_diffusers()
    write_kohya()
    write_words()
    write_custom_diffusion()
    noise = common.normal(99, 1, 4, 8, 8)
    with common.float64_in(diffusers.models.embeddings, scheduling_dpmsolver_multistep):
        reference = {name: draw(name, torch.float64, noise) for name in CASES}
    plain = reference["plain"]
    for name, latents in reference.items():
        if name != "plain" and torch.equal(latents, plain):
            raise AssertionError(f"{name} changes nothing")
        print(name, "differs from the plain picture by", ((latents - plain).abs().max() / plain.abs().max()).item())
    run = {name: draw(name, torch.float32, noise) for name in CASES}
    shutil.rmtree(TWIN)
    about = {"steps": STEPS, "guidance": GUIDANCE, "negativePrompt": NEGATIVE, "prompts": {name: prompt for name, (_, prompt) in CASES.items()}}
    common.write_golden(ROOT, {"noise": noise}, reference, [run], about)


if __name__ == "__main__":
    main()
