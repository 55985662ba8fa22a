"""Writes test/goldens/constrained-merge.json: Custom Diffusion's merge of concepts (Kumari et al. 2022) by numpy, in fp64.

Independent of cones: the minimiser of ||(W - W0) C_reg^T|| under W C^T = V is found by parametrising all W that satisfy the constraint
with a basis of C's null space, and solving an unconstrained least-squares problem.
"""
import json
import pathlib

import numpy as np

OUT, WIDTH, REGULAR, WORDS = 4, 7, 25, (2, 1)  # of the second subject one word

rng = np.random.default_rng(7)
to_f32 = lambda x: x.astype(np.float32).astype(np.float64)
w0 = to_f32(rng.normal(size=(OUT, WIDTH)))
own = [to_f32(w0 + 0.3 * rng.normal(size=(OUT, WIDTH))) for _ in WORDS]
regular = to_f32(rng.normal(size=(REGULAR, WIDTH)) * np.linspace(0.5, 2, WIDTH))
words = to_f32(rng.normal(size=(sum(WORDS), WIDTH)))
values = np.concatenate([words[sum(WORDS[:i]):sum(WORDS[:i + 1])] @ w.T for i, w in enumerate(own)])  # V^T [s, out]

particular = np.linalg.lstsq(words, values, rcond=None)[0].T  # some W with W C^T = V
_, _, vt = np.linalg.svd(words)
null = vt[len(words):]  # [D - s, D]: W = particular + X null for any X
x = np.linalg.lstsq((regular @ null.T), regular @ (w0 - particular).T, rcond=None)[0].T
merged = particular + x @ null
assert np.allclose(merged @ words.T, values.T)

golden = {"width": WIDTH, "base": w0, "own": own, "wordsOf": WORDS, "regular": regular, "words": words, "merged": merged}
flat = lambda v: v.ravel().tolist() if isinstance(v, np.ndarray) else [flat(e) for e in v] if isinstance(v, (list, tuple)) else v
path = pathlib.Path(__file__).resolve().parents[1] / "test" / "goldens" / "constrained-merge.json"
path.write_text(json.dumps({k: flat(v) for k, v in golden.items()}) + "\n")
