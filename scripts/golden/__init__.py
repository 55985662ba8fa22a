"""Reference tensors for the tests, from PyTorch, diffusers and transformers (see test/goldens/models/README.md)."""
