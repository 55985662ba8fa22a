"""A learned identifier's goldens: its token embedding descends beside xi on the loss of Algorithm A2. The UNet is the search's.

Independent of cones: PyTorch's autograd through both models, PyTorch's Adam with its defaults.
"""
import copy

import torch
from diffusers import UNet2DConditionModel
import diffusers.models.embeddings
from torch.func import functional_call

from . import clip, common, search, unet

TEXT = dict(hidden_act="quick_gelu", hidden_size=search.CONFIG["cross_attention_dim"], intermediate_size=48,
            num_hidden_layers=2, num_attention_heads=2, vocab_size=40, max_position_embeddings=12, bos_token_id=0,
            eos_token_id=2, pad_token_id=1, architectures=["CLIPTextModel"])
# Captions 0 and 1 have the token, 1 of them twice; 2 is the prior's. Per step, the caption of every row: alike, different,
# and a step that does not name the subject at all (Adam moves on).
TOKEN, START = 7, (11, 23)
CAPTIONS = [[0, 0, 2, 2], [0, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2], [1, 0, 2, 2]]
LEARNING_RATE, EMBEDDING_RATE = 6e-5, 5e-3
CASES = {"search-identifier": {}}


def learn(model, text, inputs):
    """The learned embedding [D], every weight's score and the losses [K] after K steps."""
    x, noisy = search.noised(model, inputs)

    table = text.get_input_embeddings().weight
    name = next(n for n, p in text.named_parameters() if p is table)
    learned = common.widen(table[list(START)]).mean(0).clone().requires_grad_(True)
    is_token = (torch.arange(len(table)) == TOKEN)[:, None]
    theta = {n: common.widen(p) for n, p in unet.kv_parameters(model).items()}
    displacement = {n: torch.zeros_like(p, requires_grad=True) for n, p in theta.items()}
    score = {n: torch.zeros_like(p) for n, p in theta.items()}
    descend = torch.optim.Adam([{"params": displacement.values(), "lr": LEARNING_RATE},
                                {"params": [learned], "lr": EMBEDDING_RATE}])
    losses = []
    for k in range(search.STEPS):
        ids = x["ids"][x["captions"][k]]
        embeddings = torch.where(is_token, learned, common.widen(table)).to(table.dtype)
        states = functional_call(text, {name: embeddings}, (ids,)).last_hidden_state
        step = dict(noisy=noisy[k].to(model.dtype), noise=x["noise"][k], timesteps=x["timesteps"][k],
                    encoder_hidden_states=states)
        gamma = {n: ((1 - displacement[n]) * theta[n]).to(model.dtype) for n in theta}
        loss = search.concept_loss(model, gamma, step)
        descend.zero_grad(set_to_none=False)  # no gradient is a gradient of 0
        scale = search.gradient_scale(model)
        (scale * loss).backward()
        for moved in (learned, *displacement.values()):
            if moved.grad is not None:
                moved.grad /= scale
        for n in theta:
            score[n] -= displacement[n].grad
        descend.step()
        losses.append(loss.detach())
    return {"noisy": noisy, "losses": torch.stack(losses), "embedding": learned.detach(),
            **{f"score.{n}": v for n, v in score.items()}}


def half_runs(name, folder, tensors, dtype):
    model = UNet2DConditionModel.from_pretrained(common.ROOT / "search" / "unet").to(dtype).eval().requires_grad_(False)
    text = clip.load(folder / "text_encoder", dtype)
    inputs = {k: tensors[k] for k in "latents noise timesteps ids captions".split()}
    for m in unet.variants(model):
        for t in clip.variants(text):
            yield {k: v for k, v in learn(m, t, inputs).items() if k != "noisy"}


def dump(name, folder):
    model = common.randomize(UNet2DConditionModel(**search.CONFIG), search.SEED, torch.float32)
    seed = 1_100_000
    text = clip.build(TEXT, seed, torch.float32)
    clip.write(folder / "text_encoder", text, torch.float32)

    ids = torch.randint(3, TEXT["vocab_size"], (3, TEXT["max_position_embeddings"]), generator=common.generator(seed + 1))
    ids[ids == TOKEN] = TOKEN + 1
    ids[:, 0], ids[:, 8:] = TEXT["bos_token_id"], TEXT["eos_token_id"]
    ids[0, 4] = ids[1, 2] = ids[1, 6] = TOKEN
    rows = search.SUBJECT + search.PRIOR
    inputs = {
        "latents": common.normal(seed + 2, search.STEPS, rows, 4, 8, 8),
        "noise": common.normal(seed + 3, search.STEPS, rows, 4, 8, 8),
        "timesteps": torch.randint(0, 1000, (search.STEPS, rows), generator=common.generator(seed + 4)).int(),
        "ids": ids.int(),
        "captions": torch.tensor(CAPTIONS).int(),
    }
    with common.float64_in(diffusers.models.embeddings):
        reference = learn(copy.deepcopy(model).double(), copy.deepcopy(text).double(), inputs)
    runs = [learn(m, t, inputs) for m in unet.variants(model) for t in clip.variants(text)]
    about = {"schedule": search.SCHEDULE, "subject": search.SUBJECT, "prior": search.PRIOR, "lambda": search.LAMBDA,
             "token": TOKEN, "start": START, "learning_rate": LEARNING_RATE, "embedding_rate": EMBEDDING_RATE}
    common.write_golden(folder, inputs, reference, runs, about)
