"""Two learned subjects that share a rare word: their embeddings stand at the positions where a prompt names them.

The text encoder is that of `pipeline`, which must have been written before.
"""
import torch
from transformers import CLIPTokenizer

from . import clip, common, pipeline

CASES = {"two-subjects": {}}
PIPELINE = common.ROOT / "pipeline"
WORD = "q"
# The identifiers of the first and the second subject, and the word itself, which is neither.
IDENTIFIERS = {"V1*": 0, "V2*": 1, WORD: None}
PROMPTS = ["a V1* cat next to a V2* dog, not q", "V2* by q and V1*, V1*"]


def tokens(prompt, tokenizer):
    """ids [1, 77] with the word in place of identifiers, and (position, subject) of each of those."""
    text = prompt
    for identifier in IDENTIFIERS:
        text = text.replace(identifier, WORD)
    ids = torch.tensor([tokenizer(text, padding="max_length", max_length=77).input_ids])
    named = [IDENTIFIERS[word] for word in prompt.replace(",", "").split() if word in IDENTIFIERS]
    positions = (ids[0] == tokenizer.convert_tokens_to_ids(WORD + "</w>")).nonzero()[:, 0].tolist()
    assert len(positions) == len(named)
    return ids, [(p, s) for p, s in zip(positions, named) if s is not None]


@torch.no_grad()
def encode(model, inputs):
    """Hidden states [P, 77, D] of the prompts, where the subjects' rows stand instead of the word's."""
    tokenizer = CLIPTokenizer.from_pretrained(PIPELINE / "tokenizer")
    states = []
    for prompt in PROMPTS:
        ids, subjects = tokens(prompt, tokenizer)

        def swap(module, given, rows):
            rows = rows.clone()
            for position, subject in subjects:
                rows[0, position] = inputs["embeddings"][subject].to(rows.dtype)
            return rows

        hook = model.get_input_embeddings().register_forward_hook(swap)
        states.append(model(ids).last_hidden_state)
        hook.remove()
    return {"last_hidden_state": torch.cat(states)}


def half_runs(name, folder, tensors, dtype):
    return [encode(variant, tensors) for variant in clip.variants(clip.load(PIPELINE / "text_encoder", dtype))]


def dump(name, folder):
    model = clip.load(PIPELINE / "text_encoder", torch.float32)
    inputs = {"embeddings": 0.5 * common.normal(3_000_000, 2, pipeline.TEXT["hidden_size"])}
    reference = encode(clip.load(PIPELINE / "text_encoder", torch.float64), inputs)
    common.write_golden(folder, inputs, reference, [encode(m, inputs) for m in clip.variants(model)],
                        {"prompts": PROMPTS, "token": WORD})
