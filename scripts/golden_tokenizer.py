"""Dump token ids of transformers' CLIPTokenizer into test/goldens/tokenizer.json and tokenizer-added.json.

    python scripts/golden_tokenizer.py [CAPTIONS.tsv]

CAPTIONS.tsv: any tab-separated file whose second and third columns are texts; every tenth row is used. Without it only
tokenizer-added.json is written: folders with special and added tokens. The vocabulary is the full CLIP one, built from
models/clip-bpe/merges.txt.gz.
"""

import gzip
import json
import sys
import tempfile
import unicodedata
from pathlib import Path

import transformers
from transformers import CLIPTokenizer

ROOT = Path(__file__).parent.parent

# Not here: a special token alone in other case, such as <|EndOfText|>, which @huggingface/tokenizers 0.2.0 lower-cases first.
TRICKY = [
    "", " ", "a", "A", "a photo of a cat", "a photo of a V1* cat next to a V2* dog", "<my-cat>", "<|endoftext|>",
    "before <|endoftext|> after", "<|startoftext|>a<|endoftext|>", "x <|EndOfText|>", "it's they're we've I'm she'll he'd don't CAN'T",
    "tabs\tand\nnew\r\nlines", "  many   spaces  ", "\u00a0no-break\u2003space\u3000ideographic", "naïve café ÅNGSTRÖM", "cafe\u0301 e\u0301",
    "日本語のテキスト", "Привет, мир", "مرحبا بالعالم", "한국어", "ΣΊΣΥΦΟΣ Σ ΑΣ", "İstanbul ıI", "ß ẞ ﬁ ﬀ", "½ ² ① Ⅷ ٣", "3.14159 2,000,000",
    "🐱🐶 👩‍👩‍👧 🏳️‍🌈 🇫🇷", "a_b-c+d=e", "!!! ??? ... …", "#hashtag @user https://example.com/x?y=z", "\\ / | ~ ` ^", "''' 's ' s", "'S 'T 'RE",
    "zero\u200bwidth\ufeff", "\x00\x01\x7f", "a" * 300, "supercalifragilisticexpialidocious antidisestablishmentarianism", "ktn pll ucd sks",
    "word " * 74 + "last", "word " * 75 + "last", "word " * 76 + "last", "word " * 200, "ÿ þ ð", "𝓬𝓪𝓽 𝟘", "x" * 76 + " " + "y", "a cat, a dog; a 'pot'.",
]


NEW, END = 49408, "<|endoftext|>"
CONFIG = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}


def token(content, **changes):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **changes}


def decoder(**added):
    """tokenizer_config.json as transformers 4 writes it."""
    tokens = {49406: token("<|startoftext|>", normalized=True, special=True), 49407: token(END, special=True), **added}
    return {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {str(k): v for k, v in tokens.items()}}}


# Beside vocab.json and merges.txt.
ADDED = {
    "textual inversion": {"added_tokens.json": {"<cat-toy>": NEW}},
    "textual inversion in capitals": {"added_tokens.json": {"<Cat-Toy>": NEW}},
    "textual inversion, special": {"added_tokens.json": {"<cat-toy>": NEW},
                                   "special_tokens_map.json": {"additional_special_tokens": ["<cat-toy>"]}},
    "added_tokens_decoder": decoder(**{str(NEW): token("<cat-toy>", normalized=True)}),
    "added_tokens_decoder, as it is spelt": decoder(**{str(NEW): token("<Cat-Toy>", lstrip=True)}),
    "white space goes": decoder(**{str(NEW): token("<cat-toy>", lstrip=True, rstrip=True)}),
    "Stable Diffusion 2": {"special_tokens_map.json": {"pad_token": "!"}},
    "Stable Diffusion 1": {"special_tokens_map.json": {
        "bos_token": token("<|startoftext|>", normalized=True), "eos_token": token(END, normalized=True),
        "pad_token": END, "unk_token": token(END, normalized=True)}},
}
ADDED_TEXTS = ["a <cat-toy> b", "A <CAT-TOY>s", "x<cat-toy>y", "a <Cat-Toy> b", "Hi !there! ok", "!", "!!!", END + " a",
               "<|startoftext|>b", "x <|STARTOFTEXT|> y", "<cat-toy><cat-toy>", "<cat-toy",
               # White space to Unicode and not to JavaScript, and the other way round.
               "a\u0085<cat-toy>\u0085b\u0085", "a \ufeff <cat-toy>\ufeff b", "a\ufeff!b", "! \ufeff\ufeff? c", "\x1ca\u180eb"]


def load(merges, files):
    """The tokenizer of a folder with the full vocabulary and these JSON files."""
    pairs = [line.split(" ") for line in merges.splitlines()[1:] if line]
    # CLIP's vocabulary: bytes in the order of their printable stand-ins, the same ending a word, merges, specials.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(p) for p in pairs] + ["<|startoftext|>", END]
    assert len(tokens) == len(set(tokens)) == 49408
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "merges.txt").write_text(merges, encoding="utf-8")
        for name, value in {"vocab.json": {t: i for i, t in enumerate(tokens)}, "tokenizer_config.json": CONFIG, **files}.items():
            (Path(folder) / name).write_text(json.dumps(value))
        return CLIPTokenizer.from_pretrained(folder)


def write(name, golden, key, rows):
    """One line per row, so that differences can be read."""
    text = ",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in rows)
    path = ROOT / "test/goldens" / name
    path.write_text(f'{json.dumps(golden)[:-1]}, "{key}": [\n{text}\n]}}\n')
    print(path, path.stat().st_size, "bytes", len(rows), key)


def main():
    transformers.logging.set_verbosity_error()
    merges = gzip.open(ROOT / "models/clip-bpe/merges.txt.gz", "rt", encoding="utf-8").read()
    golden = {"transformers": transformers.__version__}
    folders = []
    for name, files in ADDED.items():
        tokenizer = load(merges, files)
        texts = [[text, tokenizer(text, truncation=True).input_ids] for text in ADDED_TEXTS]
        folders.append({"name": name, "files": files, "pad": tokenizer.pad_token_id, "texts": texts})
    write("tokenizer-added.json", golden, "folders", folders)
    if len(sys.argv) < 2:
        return
    tokenizer = load(merges, {})
    captions = [line.split("\t")[1:3] for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[1::10]]
    texts = list(dict.fromkeys(TRICKY + [text for row in captions for text in row]))
    # Letters assigned after Unicode 15 are known to one library and not to the other.
    assert all(unicodedata.category(c) != "Cn" for text in texts for c in text)
    write("tokenizer.json", golden, "texts", [[text, tokenizer(text, truncation=True).input_ids] for text in texts])


if __name__ == "__main__":
    main()
