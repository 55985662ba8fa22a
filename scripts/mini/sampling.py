"""An exported model folder, for evaluation: prompts to text states, text states to pictures."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.func import functional_call
from transformers import CLIPTextModel, CLIPTokenizer


class Mini:
    def __init__(self, folder: Path, device: str = "cpu"):
        self.device = device
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().to(device)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval().to(device)
        if device == "cpu":
            self.unet.set_attn_processor(AttnProcessor())  # see train_unet.py
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval().to(device)
        self.scheduler = DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler")
        for part in (self.text, self.unet, self.vae):
            part.requires_grad_(False)

    def autocast(self) -> torch.autocast:
        """bf16 on a GPU; what CPUs draw is to be compared with the engine, in fp32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu")

    @torch.no_grad()
    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """`[B, 77, D]`."""
        ids = self.tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        return self.text(ids.to(self.device)).last_hidden_state

    @contextmanager
    def learned(self, word: str, embedding: Tensor | None) -> Iterator[None]:
        """With another token embedding `[D]` for a word."""
        table, token = self.text.get_input_embeddings().weight, self.tokenizer.convert_tokens_to_ids(f"{word}</w>")
        own = table[token].clone()
        table[token] = own if embedding is None else embedding
        try:
            yield
        finally:
            table[token] = own

    @torch.no_grad()
    def encode_pictures(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` in [-1, 1] -> scaled latents `[B, C, h, w]`."""
        return self.vae.encode(x.to(self.device)).latent_dist.mean * self.vae.config.scaling_factor

    @torch.no_grad()
    def sample_latents(self, prompts: list[str], *, seed: int = 0, steps: int = 20, guidance: float = 5.0, batch: int = 32,
                       weights: dict[str, Tensor] | None = None) -> Tensor:
        """Scaled latents `[B, C, h, w]` by DPM-Solver++ (2M). `weights` replaces UNet weights by name, for shut neurons."""
        size, channels = self.unet.config.sample_size, self.unet.config.in_channels
        noise = torch.randn(len(prompts), channels, size, size, generator=torch.Generator().manual_seed(seed)).to(self.device)
        empty = self.encode_prompts([""])
        latents = []
        for start in range(0, len(prompts), batch):
            x, c = noise[start:start + batch], self.encode_prompts(prompts[start:start + batch])
            c = torch.cat([empty.expand(len(c), -1, -1), c])
            self.scheduler.set_timesteps(steps)
            for t in self.scheduler.timesteps:
                with self.autocast():
                    epsilon = functional_call(self.unet, weights or {}, (torch.cat([x, x]), t, c)).sample.float()
                free, told = epsilon.chunk(2)
                x = self.scheduler.step(free + guidance * (told - free), t, x).prev_sample
            latents.append(x)
        return torch.cat(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents -> pictures `[B, 3, H, W]` in [-1, 1], on the CPU."""
        with self.autocast():
            return torch.cat([self.vae.decode(part / self.vae.config.scaling_factor).sample.float().clamp(-1, 1).cpu()
                              for part in latents.split(32)])

    def sample(self, prompts: list[str], **settings) -> Tensor:
        """Pictures `[B, 3, H, W]` in [-1, 1]; settings as for `sample_latents`."""
        return self.decode(self.sample_latents(prompts, **settings))


def grid(pictures: Tensor, columns: int, gap: int = 2):
    """`[B, 3, H, W]` in [-1, 1] -> one PIL picture."""
    from PIL import Image
    size = pictures.shape[-1]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (size + gap) - gap, rows * (size + gap) - gap), "white")
    for i, picture in enumerate(((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()):
        sheet.paste(Image.fromarray(picture), (i % columns * (size + gap), i // columns * (size + gap)))
    return sheet
