"""CLIPModel goldens: picture and text embeddings in their common space, and the vision tower's states."""
import copy

import torch
from transformers import CLIPConfig, CLIPModel

from . import clip, common

TEXT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, vocab_size=100,
            max_position_embeddings=20, bos_token_id=0, pad_token_id=1)
VISION = dict(hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=24,
              patch_size=8)

CASES = {
    # The text state is taken at the highest id: what transformers does where eos_token_id is 2, as in OpenAI's configs.
    "clip-model-highest-id": dict(activation="quick_gelu", eos=2, dtype=torch.float32),
    # The text state is taken at the first eos_token_id.
    "clip-model-first-eos": dict(activation="gelu", eos=50, dtype=torch.float16),
}


def build(case, seed):
    config = CLIPConfig(text_config=dict(TEXT, hidden_act=case["activation"], eos_token_id=case["eos"]),
                        vision_config=dict(VISION, hidden_act=case["activation"]), projection_dim=24)
    config._attn_implementation = "sdpa"
    return common.randomize(CLIPModel(config), seed, case["dtype"])


@torch.no_grad()
def evaluate(model, inputs):
    out = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"].to(model.dtype))
    return {"image_embeds": out.image_embeds, "text_embeds": out.text_embeds, "logits_per_image": out.logits_per_image,
            "vision_last_hidden_state": out.vision_model_output.last_hidden_state}


def half_runs(name, folder, tensors, dtype):
    model = CLIPModel.from_pretrained(folder, dtype=dtype).eval()
    return [evaluate(variant, tensors) for variant in clip.variants(model)]


def dump(name, folder):
    case = CASES[name]
    seed = 20_000 * (1 + list(CASES).index(name))
    model = build(case, seed)
    common.write_json(folder / "config.json", model.config.to_dict())
    common.write_weights(folder, model.state_dict(), case["dtype"], name="model")
    common.check_same_weights(model, CLIPModel.from_pretrained(folder, dtype=torch.float32))

    ids = torch.randint(3, 50, (3, 14), generator=common.generator(seed + 1))
    ids[:, 0] = TEXT["bos_token_id"]
    for row, end in enumerate((5, 13, 9)):
        ids[row, end:] = 50
        if case["eos"] == 50:
            ids[row, end - 2] = 70  # would mislead the other rule
    side = VISION["image_size"]
    inputs = {"input_ids": ids.int(), "pixel_values": common.normal(seed + 2, 2, 3, side, side)}
    reference = evaluate(copy.deepcopy(model).double(), inputs)
    common.write_golden(folder, inputs, reference, [evaluate(m, inputs) for m in clip.variants(model)])
