"""Timings of PyTorch + diffusers, the baseline of `npm run bench`.

    python bench/python/baseline.py --model DIR --row unet_forward --batch 1 --size 32 --threads 2 --iterations 5
    python bench/python/baseline.py --serve

prints one line of JSON per measurement. With --serve, requests are read from stdin as lines of JSON with the same keys,
one answer line each, so that measurements of two engines can alternate in one run; models stay loaded.

Request (defaults): model (a folder in diffusers layout; parts without weights get random ones), row (see rows.py),
batch (1), size (side of the latents, 32), threads (1), iterations (5), warmup (1), dtype ("float32" or "bfloat16").
Answer: the request, ms (median of `iterations`), cpuMs (processor time per iteration, all threads), samples (ms each),
memoryFormat, torch, diffusers; or {"error": …}.

The first request of a kind measures both memory formats; it and later ones answer with the one that takes less processor
time. A request like the one
before it goes on with the same inputs, warm as they are.
"""
import argparse
import json
import statistics
import sys
import time

DEFAULTS = {"batch": 1, "size": 32, "threads": 1, "iterations": 5, "warmup": 1, "dtype": "float32"}


class Baseline:
    def __init__(self):
        self.models = {}
        self.best_format = {}
        self.last = None, None  # kind and step of the request before

    def measure(self, request):
        import diffusers
        import torch

        import rows

        request = {**DEFAULTS, **request}
        if request["row"] not in rows.ROWS:
            raise ValueError(f"no row {request['row']}; there are {', '.join(rows.ROWS)}")
        torch.set_num_threads(request["threads"])
        folder = request["model"], request["dtype"]
        if folder not in self.models:
            self.models[folder] = rows.Model(*folder)
        model = self.models[folder]

        kind = tuple(request[k] for k in ("model", "dtype", "row", "batch", "size", "threads"))
        if self.last[0] == kind:
            best, measured = self.best_format[kind], self.time(self.last[1], 0, request["iterations"])
        else:
            best, measured, step = self.start(kind, model, request)
            self.last = kind, step
        return {**request, **measured, "memoryFormat": best, "torch": torch.__version__,
                "diffusers": diffusers.__version__}

    def start(self, kind, model, request):
        """Builds the row's inputs and measures it in the kind's best memory format, or in both to find that."""
        import rows

        self.last = None, None  # its tensors first
        formats = [self.best_format[kind]] if kind in self.best_format else list(rows.MEMORY_FORMATS)
        measured = {}
        for name in formats:
            model.use_memory_format(name)
            step = rows.ROWS[request["row"]](model, request["batch"], request["size"])
            measured[name] = self.time(step, request["warmup"], request["iterations"])
        best = min(measured, key=lambda name: measured[name]["cpuMs"])  # steadier than ms beside other load
        self.best_format[kind] = best
        if best != formats[-1]:
            model.use_memory_format(best)
            step = rows.ROWS[request["row"]](model, request["batch"], request["size"])
            step()
        return best, measured[best], step

    @staticmethod
    def time(step, warmup, iterations):
        for _ in range(warmup):
            step()
        samples, cpu = [], time.process_time()
        for _ in range(iterations):
            start = time.perf_counter()
            step()
            samples.append(1000 * (time.perf_counter() - start))
        cpu = time.process_time() - cpu
        return {"ms": statistics.median(samples), "cpuMs": 1000 * cpu / iterations, "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--row")
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = vars(parser.parse_args())
    serve = options.pop("serve")
    if not serve and not (options["model"] and options["row"]):
        parser.error("give --model and --row, or --serve")

    # Answers alone go to stdout: what libraries print would break the protocol.
    answers, sys.stdout = sys.stdout, sys.stderr
    baseline = Baseline()
    for line in sys.stdin if serve else [json.dumps(options)]:
        try:
            answer = baseline.measure(json.loads(line))
        except Exception as error:  # one bad request must not end the others
            if not serve:
                raise
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
