"""CLIP text encoder goldens: hidden states, and the gradient of the token embeddings of chosen tokens."""
import copy

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from . import common

# The keys of Stable Diffusion 1.4's text_encoder/config.json that say something about the model.
SD1_KEYS = """architectures bos_token_id eos_token_id hidden_act hidden_size intermediate_size layer_norm_eps
max_position_embeddings model_type num_attention_heads num_hidden_layers pad_token_id vocab_size""".split()

CASES = {
    "clip-sd1": dict(
        config=dict(hidden_act="quick_gelu", hidden_size=48, intermediate_size=96, num_hidden_layers=3,
                    num_attention_heads=4, vocab_size=300, max_position_embeddings=77, bos_token_id=0, eos_token_id=2,
                    pad_token_id=1, architectures=["CLIPTextModel"]),
        keys=SD1_KEYS, shape=(2, 77), dtype=torch.float32),
    "clip-sd2": dict(
        config=dict(hidden_act="gelu", hidden_size=40, intermediate_size=160, num_hidden_layers=2,
                    num_attention_heads=1, vocab_size=290, max_position_embeddings=16, bos_token_id=0, eos_token_id=2,
                    pad_token_id=1, layer_norm_eps=1e-4, architectures=["CLIPTextModel"]),
        shape=(3, 11), dtype=torch.float16),
}


def build(config, seed, dtype):
    """The model in fp32 with the stored (rounded) weights; fused attention also keeps an fp64 copy in fp64."""
    config = CLIPTextConfig(**config)
    config._attn_implementation = "sdpa"
    return common.randomize(CLIPTextModel(config), seed, dtype)


def published_weights(model):
    """Under the names of published checkpoints, which transformers 5 no longer writes, and with the position ids."""
    weights = {f"text_model.{k}": v for k, v in model.state_dict().items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(model.config.max_position_embeddings)[None]
    return weights


def write(folder, model, dtype, keys=None):
    config = model.config.to_dict()
    common.write_json(folder / "config.json", {k: v for k, v in config.items() if keys is None or k in keys})
    # The published names go with the published set of config keys.
    weights = published_weights(model) if keys else model.state_dict()
    common.write_weights(folder, weights, dtype, name="model")
    common.check_same_weights(model, CLIPTextModel.from_pretrained(folder, dtype=torch.float32))


def evaluate(model, inputs):
    embedding = model.get_input_embeddings()
    embedding.weight.requires_grad_(True)
    out = model(inputs["input_ids"]).last_hidden_state
    wide = common.wide(out.dtype)
    loss = common.per_row_mse(out.to(wide), inputs["target"].to(wide), inputs["weights"].to(wide))
    scale = common.gradient_scale(out.dtype, out[0].numel())
    gradient, = torch.autograd.grad(scale * loss, embedding.weight)
    embedding.weight.requires_grad_(False)
    return {"last_hidden_state": out.detach(), "loss": loss.detach(),
            "grad.token_embedding": common.widen(gradient[inputs["token_ids"].long()]) / scale}


def variants(model):
    for implementation in ("sdpa", "eager"):
        variant = copy.deepcopy(model)
        variant.set_attn_implementation(implementation)
        yield variant


def load(folder, dtype):
    return CLIPTextModel.from_pretrained(folder, dtype=dtype).eval().requires_grad_(False)


def half_runs(name, folder, tensors, dtype):
    return [evaluate(variant, tensors) for variant in variants(load(folder / "text_encoder", dtype))]


def dump(name, folder):
    case = CASES[name]
    seed = 10_000 * (1 + list(CASES).index(name))
    model = build(case["config"], seed, case["dtype"])
    write(folder / "text_encoder", model, case["dtype"], case.get("keys"))

    batch, length = case["shape"]
    ids = torch.randint(3, model.config.vocab_size, (batch, length), generator=common.generator(seed + 1))
    ids[:, 0] = model.config.bos_token_id
    ids[:, length * 2 // 3:] = model.config.eos_token_id
    ids[0, 3] = ids[0, 5] = ids[1, 2]  # one token three times, in two rows
    inputs = {
        "input_ids": ids.int(),
        "token_ids": torch.tensor([ids[1, 2], model.config.eos_token_id, ids[0, 1]], dtype=torch.int32),
        "target": common.normal(seed + 2, batch, length, model.config.hidden_size),
        "weights": torch.tensor([1.0, 0.5, 2.0][:batch]),
    }
    reference = evaluate(copy.deepcopy(model).double(), inputs)
    common.write_golden(folder, inputs, reference, [evaluate(m, inputs) for m in variants(model)])
