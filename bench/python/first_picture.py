"""python first_picture.py FOLDER THREADS: PyTorch's side of the row cold_start of `npm run bench`.

The least that draws a picture with diffusers: a StableDiffusionPipeline in fp32 with DPM-Solver++, 20 steps, guidance 7.5.
"""
import json
import sys
import time

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
pipeline.set_progress_bar_config(disable=True)
pipeline("a cat on the beach", num_inference_steps=20, guidance_scale=7.5, generator=torch.Generator().manual_seed(1),
         output_type="np")
print(json.dumps({"cpuMs": 1000 * time.process_time()}))
