"""Dump token ids of transformers' CLIPTokenizer into test/goldens/tokenizer.json.

    python scripts/golden_tokenizer.py CAPTIONS.tsv

CAPTIONS.tsv: any tab-separated file whose second and third columns are texts; every tenth row is used. The
vocabulary is the full CLIP one, built from test/fixtures/clip-bpe/merges.txt.gz.
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


def main():
    transformers.logging.set_verbosity_error()
    merges = gzip.open(ROOT / "test/fixtures/clip-bpe/merges.txt.gz", "rt", encoding="utf-8").read()
    pairs = [line.split(" ") for line in merges.splitlines()[1:] if line]
    # CLIP's vocabulary: bytes in the order of their printable stand-ins, the same ending a word, merges, specials.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(p) for p in pairs] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == len(set(tokens)) == 49408
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
        (Path(folder) / "merges.txt").write_text(merges, encoding="utf-8")
        (Path(folder) / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}')
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    captions = [line.split("\t")[1:3] for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[1::10]]
    texts = list(dict.fromkeys(TRICKY + [text for row in captions for text in row]))
    # Letters assigned after Unicode 15 are known to one library and not to the other.
    assert all(unicodedata.category(c) != "Cn" for text in texts for c in text)
    golden = {"transformers": transformers.__version__, "texts": [[text, tokenizer(text, truncation=True).input_ids] for text in texts]}
    path = ROOT / "test/goldens/tokenizer.json"
    rows = ",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in golden.pop("texts"))
    path.write_text(f'{json.dumps(golden)[:-1]}, "texts": [\n{rows}\n]}}\n')
    print(path, path.stat().st_size, "bytes", len(texts), "texts")


if __name__ == "__main__":
    main()
