"""What is timed. Each row builds its inputs and returns a function that does the work once.

Written as a careful PyTorch user would: frozen weights do not ask for gradients, attention is the fused kernel, no
gradient is tracked where none is needed, one foreach call per optimiser step.
"""
import json
import pathlib
import re

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

for logging in diffusers_logging, transformers_logging:
    logging.set_verbosity_error()
    logging.disable_progress_bar()

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
KV = re.compile(r"\.attn[12]\.to_[kv]\.weight$")
TOKENS, PICTURE_STEPS, GUIDANCE = 77, 20, 7.5


class Model:
    """The parts of a diffusers folder, each loaded when first used."""

    def __init__(self, folder, dtype):
        self.folder = pathlib.Path(folder)
        self.dtype = getattr(torch, dtype)
        self.format = torch.contiguous_format
        self.parts = {}

    def _part(self, name, load):
        if name not in self.parts:
            self.parts[name] = load(self.folder / name).eval().requires_grad_(False).to(self.dtype)
        return self.parts[name].to(memory_format=self.format)

    def _diffusers(self, name, kind):
        def load(folder):
            if any(folder.glob("*.safetensors")):
                return kind.from_pretrained(folder)
            return kind.from_config(json.loads((folder / "config.json").read_text()))
        return self._part(name, load)

    @property
    def unet(self):
        return self._diffusers("unet", UNet2DConditionModel)

    @property
    def vae(self):
        return self._diffusers("vae", AutoencoderKL)

    @property
    def text_encoder(self):
        def load(folder):
            if any(folder.glob("*.safetensors")):
                return CLIPTextModel.from_pretrained(folder)
            return CLIPTextModel(CLIPTextConfig.from_pretrained(folder))
        return self._part("text_encoder", load)

    @property
    def schedule(self):
        return json.loads((self.folder / "scheduler" / "scheduler_config.json").read_text())

    def use_memory_format(self, name):
        self.format = MEMORY_FORMATS[name]

    def latents(self, batch, size):
        channels = self.unet.config.in_channels
        return torch.randn(batch, channels, size, size, dtype=self.dtype).contiguous(memory_format=self.format)

    def states(self, batch):
        return torch.randn(batch, TOKENS, self.unet.config.cross_attention_dim, dtype=self.dtype)


def kv_weights(unet):
    return [p for name, p in unet.named_parameters() if KV.search(name)]


def unet_forward(model, batch, size):
    """UNet(latents [batch, C, size, size], text [batch, 77, D])."""
    unet, sample, states = model.unet, model.latents(batch, size), model.states(batch)
    timesteps = torch.randint(0, 1000, (batch,))

    @torch.inference_mode()
    def step():
        unet(sample, timesteps, states)
    return step


def mse_gradients(unet, weights, noisy, timesteps, states, target, row_weights):
    """Gradients of sum_b row_weights[b] * mse_b with respect to `weights` only."""
    for p in weights:
        p.requires_grad_(True)
    out = unet(noisy, timesteps, states).sample
    loss = (row_weights * (out - target).square().mean((1, 2, 3))).sum()
    gradients = torch.autograd.grad(loss, weights)
    for p in weights:
        p.requires_grad_(False)
    return gradients


def unet_gradient(model, batch, size):
    """Forward, and backward to the gradients of all K-V weights (self- and cross-attention)."""
    unet, states = model.unet, model.states(batch)
    sample, target = model.latents(batch, size), model.latents(batch, size)
    timesteps = torch.randint(0, 1000, (batch,))
    weights = kv_weights(unet)

    def step():
        mse_gradients(unet, weights, sample, timesteps, states, target, torch.full((batch,), 1 / batch))
    return step


def search_step(model, batch, size):
    """One step of Algorithm A2 with Adam on xi and the score S: `batch` subject and `batch` prior rows, a caption for either.

    Leaves the model's weights at xi * theta, a hair from where they were: nothing here but time is measured.
    """
    unet, latents, states = model.unet, model.latents(2 * batch, size), model.states(2).repeat_interleave(batch, 0)
    scheduler = DDPMScheduler.from_config(model.schedule)
    weights = kv_weights(unet)
    theta = [p.detach().clone() for p in weights]
    xi = [torch.ones_like(p, requires_grad=True) for p in weights]
    score = [torch.zeros_like(p) for p in weights]
    adam = torch.optim.Adam(xi, lr=6e-5, foreach=True)
    row_weights = torch.full((2 * batch,), 1 / batch)

    def step():
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (2 * batch,))
        noisy = scheduler.add_noise(latents, noise, timesteps)
        with torch.no_grad():
            torch._foreach_copy_(weights, torch._foreach_mul(theta, xi))
        gradients = mse_gradients(unet, weights, noisy, timesteps, states, noise, row_weights)
        gradients = torch._foreach_mul(gradients, theta)
        torch._foreach_add_(score, gradients)
        for x, g in zip(xi, gradients):
            x.grad = g
        adam.step()
    return step


def picture(model, batch, size):
    """20 steps of DPM-Solver++ 2M with guidance (UNet batch 2 * batch) from text states, and VAE decode."""
    unet, vae, noise, states = model.unet, model.vae, model.latents(batch, size), model.states(2 * batch)
    scheduler = DPMSolverMultistepScheduler.from_config(model.schedule)

    @torch.inference_mode()
    def step():
        scheduler.set_timesteps(PICTURE_STEPS)
        latents = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            negative, positive = unet(torch.cat([latents] * 2), t, states).sample.chunk(2)
            latents = scheduler.step(negative + GUIDANCE * (positive - negative), t, latents).prev_sample
        vae.decode(latents / vae.config.scaling_factor)
    return step


def vae_decode(model, batch, size):
    """VAE decode of latents [batch, L, size, size]."""
    vae = model.vae
    latents = torch.randn(batch, vae.config.latent_channels, size, size, dtype=model.dtype)
    latents = latents.contiguous(memory_format=model.format)

    @torch.inference_mode()
    def step():
        vae.decode(latents)
    return step


def vae_encode(model, batch, size):
    """VAE encode of pictures that give latents [batch, L, size, size]."""
    vae = model.vae
    side = size * 2 ** (len(vae.config.block_out_channels) - 1)
    pictures = torch.rand(batch, 3, side, side, dtype=model.dtype).contiguous(memory_format=model.format)

    @torch.inference_mode()
    def step():
        vae.encode(pictures)
    return step


def text_encode(model, batch, size):
    """CLIP text encoder on ids [batch, 77]."""
    text_encoder = model.text_encoder
    ids = torch.randint(0, text_encoder.config.vocab_size, (batch, TOKENS))

    @torch.inference_mode()
    def step():
        text_encoder(ids)
    return step


ROWS = {row.__name__: row for row in
        (unet_forward, unet_gradient, search_step, picture, vae_decode, vae_encode, text_encode)}
