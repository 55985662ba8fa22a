"""Writes the reference tensors under test/goldens/models (its README.md describes them). All cases, or those named.

    python scripts/golden.py [--errors-only] [case ...]
"""
import argparse
import shutil

import torch

from golden import clip, clip_model, common, editing, identifier, masked, other_vae, pipeline, search, subjects, unet, vae, weighted

KINDS = (unet, masked, clip, clip_model, vae, search, identifier, pipeline, subjects, editing, other_vae, weighted)


def main():
    cases = {name: kind for kind in KINDS for name in kind.CASES}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", help="of " + ", ".join(cases))
    parser.add_argument("--errors-only", action="store_true", help="keep all files; only add PyTorch's 16-bit errors to errors.json")
    arguments = parser.parse_args()
    names = arguments.case or list(cases)
    unknown = [name for name in names if name not in cases]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in names:
        folder = common.ROOT / name
        if not arguments.errors_only:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            cases[name].dump(name, folder)
        common.add_half_errors(folder, cases[name], name)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
