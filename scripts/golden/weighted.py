"""Text states of prompts with weights, in chunks. What a prompt of the prompt language means is written out by hand beside it:
for each chunk, texts with their weights. The text encoder is that of `pipeline`, which must have been written before.
"""
import torch
from transformers import CLIPTokenizer

from . import clip, common

CASES = {"weighted-prompts": {}}
PIPELINE = common.ROOT / "pipeline"

# name: prompt, and its chunks
PROMPTS = {
    "weights": ("(a cat:1.3) on [the mat], ((red)) dog", [[("a cat", 1.3), ("on", 1), ("the mat", 1 / 1.1), (",", 1), ("red", 1.1 * 1.1), ("dog", 1)]]),
    "literal": (r"a \(cat\) (dog", [[("a (cat)", 1), ("dog", 1.1)]]),
    "negative": ("cat (dog:-0.5), (mat:0)", [[("cat", 1), ("dog", -0.5), (",", 1), ("mat", 0)]]),
    "break": ("a (cat BREAK dog:1.5) mat", [[("a", 1), ("cat", 1.5)], [("dog", 1.5), ("mat", 1)]]),
    # 75 letters fill a chunk.
    "long": ("b " * 80 + "(c:2)", [[("b " * 75, 1)], [("b " * 5, 1), ("c", 2)]]),
    # The comma is the chunk's 66th token: what follows moves on.
    "comma": ("b " * 65 + ", " + "c " * 20, [[("b " * 65 + ",", 1)], [("c " * 20, 1)]]),
    "no comma near": ("b " * 40 + ", " + "(" + "c " * 40 + ":0.7)", [[("b " * 40 + ",", 1), ("c " * 34, 0.7)], [("c " * 6, 0.7)]]),
}


def frame(texts, tokenizer):
    """ids and weights [77] of one chunk: BOS, the tokens, EOS and padding; weights of anything but tokens are 1."""
    ids, weights = [tokenizer.bos_token_id], [1.0]
    for text, weight in texts:
        own = tokenizer(text, add_special_tokens=False).input_ids
        ids += own
        weights += [weight] * len(own)
    assert len(ids) <= 76
    padding = 77 - len(ids)
    return torch.tensor([ids + [tokenizer.eos_token_id] * padding]), torch.tensor(weights + [1.0] * padding)


@torch.no_grad()
def encode(model, _):
    """Hidden states [1, 77 × chunks, D] of every prompt."""
    tokenizer = CLIPTokenizer.from_pretrained(PIPELINE / "tokenizer")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    result = {}
    for name, (_, chunks) in PROMPTS.items():
        states = []
        for texts in chunks:
            ids, weights = frame(texts, tokenizer)
            plain = model(ids).last_hidden_state
            weighed = plain * weights[None, :, None].to(plain.dtype)
            # The mean over the chunk's tokens and channels stays.
            states.append(weighed * (plain.mean() / weighed.mean()))
        result[name] = torch.cat(states, 1)
    return result


def half_runs(name, folder, tensors, dtype):
    return [encode(variant, tensors) for variant in clip.variants(clip.load(PIPELINE / "text_encoder", dtype))]


def dump(name, folder):
    model = clip.load(PIPELINE / "text_encoder", torch.float32)
    reference = encode(clip.load(PIPELINE / "text_encoder", torch.float64), {})
    common.write_golden(folder, {}, reference, [encode(m, {}) for m in clip.variants(model)],
                        {"prompts": {key: prompt for key, (prompt, _) in PROMPTS.items()}})
