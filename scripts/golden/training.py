"""Goldens of the paper's rivals: three steps of Textual Inversion, Custom Diffusion and DreamBooth (App. B.1-B.3).

Independent of cones: PyTorch's autograd and AdamW, and diffusers' own attention processors of Custom Diffusion, through which no
gradient flows at the text's first token. Models, pictures and captions are those of search-identifier; caption 1 names a second
subject, too, whose token is new.
"""
import copy

import torch
from diffusers import UNet2DConditionModel
import diffusers.models.embeddings
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor, CustomDiffusionAttnProcessor2_0
from safetensors.torch import load_file
from torch.func import functional_call

from . import clip, common, identifier, search, unet

STEPS = 3
TOKENS, STARTS = (identifier.TOKEN, 40), (identifier.START, (5,))
# Where gradients are 0 but for rounding, Adam's steps would be of any sign: a large epsilon keeps them out. The rates and the decay are large
# enough to be seen.
RUNS = {
    "textual-inversion": dict(lr=5e-3, weight_decay=0.5, eps=1e-8),
    "custom-diffusion": dict(lr=1e-3, weight_decay=0.5, eps=1e-3),
    "dreambooth": dict(lr=1e-3, weight_decay=0.5, eps=1e-3),
}
KEPT = 256  # values of each weight
CASES = {"training": {}}


def custom_diffusion(model, processor, theta):
    """The model with trainable K and V in all attn2, which start as `theta`; {name of the weight: parameter}."""
    processors, trained = {}, {}
    for name in model.attn_processors:
        layer = name.removesuffix(".processor")
        if name.endswith("attn1.processor"):
            processors[name] = processor(train_kv=False, train_q_out=False)
            continue
        k, v = theta[f"{layer}.to_k.weight"], theta[f"{layer}.to_v.weight"]
        processors[name] = processor(train_kv=True, train_q_out=False, hidden_size=k.shape[0], cross_attention_dim=k.shape[1])
        for projection, weight in (("k", k), ("v", v)):
            linear = getattr(processors[name], f"to_{projection}_custom_diffusion")
            linear.weight = torch.nn.Parameter(weight.detach().clone())
            trained[f"{layer}.to_{projection}.weight"] = linear.weight
    model.set_attn_processor(processors)
    return trained


def train(model, text, inputs, method, processor=CustomDiffusionAttnProcessor2_0):
    """Losses [STEPS], the embeddings and the first KEPT values of every trained weight after STEPS steps."""
    model = copy.deepcopy(model)
    x, noisy = search.noised(model, inputs)

    table = text.get_input_embeddings().weight
    name = next(n for n, p in text.named_parameters() if p is table)
    learned = torch.stack([common.widen(table[list(start)]).mean(0) for start in STARTS]).requires_grad_(method != "dreambooth")
    ids = x["ids"]
    if method == "dreambooth":
        ids = torch.where(ids == TOKENS[1], TOKENS[0], ids)  # nothing is learned, and there is no new token
    weights = {}
    if method == "custom-diffusion":
        weights = custom_diffusion(model, processor, {n: common.widen(p) for n, p in unet.kv_parameters(model).items()})
    elif method == "dreambooth":
        weights = {n: common.widen(p).clone().requires_grad_(True) for n, p in model.named_parameters()}
    trained = [*weights.values()] + ([] if method == "dreambooth" else [learned])
    descend = torch.optim.AdamW(trained, **RUNS[method])
    losses = []
    for k in range(STEPS):
        embeddings = common.widen(table)
        if method != "dreambooth":
            embeddings = torch.cat([embeddings, learned[1:]])
            is_first = (torch.arange(len(embeddings)) == TOKENS[0])[:, None]
            embeddings = torch.where(is_first, learned[:1], embeddings)
        states = functional_call(text, {name: embeddings.to(table.dtype)}, (ids[x["captions"][k]],)).last_hidden_state
        step = dict(noisy=noisy[k].to(model.dtype), noise=x["noise"][k], timesteps=x["timesteps"][k], encoder_hidden_states=states)
        changed = {n: w.to(model.dtype) for n, w in weights.items()} if method == "dreambooth" else {}
        loss = search.concept_loss(model, changed, step)
        descend.zero_grad()
        scale = search.gradient_scale(model)
        (scale * loss).backward()
        for moved in trained:
            moved.grad /= scale
        descend.step()
        losses.append(loss.detach())
    result = {"losses": torch.stack(losses), **{f"weight.{n}": w.detach().flatten()[:KEPT] for n, w in weights.items()}}
    if method != "dreambooth":
        result["embeddings"] = learned.detach()
    return noisy[:STEPS], {f"{method}.{n}": v for n, v in result.items()}


def variants(model):
    """Of one method each: the UNet's memory formats with either attention."""
    for variant in unet.variants(model):
        fused = "2_0" in type(next(iter(variant.attn_processors.values()))).__name__
        yield variant, CustomDiffusionAttnProcessor2_0 if fused else CustomDiffusionAttnProcessor


def runs_of(model, text, inputs):
    for m, processor in variants(model):
        for t in clip.variants(text):
            yield {n: v for method in RUNS for n, v in train(m, t, inputs, method, processor)[1].items()}


def half_runs(name, folder, tensors, dtype):
    model = UNet2DConditionModel.from_pretrained(common.ROOT / "search" / "unet").to(dtype).eval().requires_grad_(False)
    text = clip.load(common.ROOT / "search-identifier" / "text_encoder", dtype)
    yield from runs_of(model, text, {k: tensors[k] for k in "latents noise timesteps ids captions".split()})


def dump(name, folder):
    model = UNet2DConditionModel.from_pretrained(common.ROOT / "search" / "unet").eval().requires_grad_(False)
    text = clip.load(common.ROOT / "search-identifier" / "text_encoder", torch.float32)
    known = load_file(common.ROOT / "search-identifier" / "golden.safetensors")
    inputs = {k: known[k][:STEPS] for k in "latents noise timesteps captions".split()} | {"ids": known["ids"].clone()}
    inputs["ids"][1, 6] = TOKENS[1]
    reference = {}
    with common.float64_in(diffusers.models.embeddings):
        for method in RUNS:
            noisy, result = train(copy.deepcopy(model).double(), copy.deepcopy(text).double(), inputs, method)
            reference |= {"noisy": noisy, **result}
    about = {"schedule": search.SCHEDULE, "subject": search.SUBJECT, "prior": search.PRIOR, "lambda": search.LAMBDA,
             "tokens": TOKENS, "starts": STARTS, "kept": KEPT, "runs": RUNS}
    common.write_golden(folder, inputs, reference, list(runs_of(model, text, inputs)), about)
