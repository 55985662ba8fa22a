"""What gemm.py and vector.py share: a program of bench/cpp and PyTorch in turn on the same threads.

One thread is measured in processor time, so that other load on the machine matters less; more are measured in wall time
and need a quiet machine. Build a program with

    g++ -O2 -std=c++20 -Icsrc bench/cpp/gemm_bench.cc .cache/cmake/libcones_core.a -lpthread -o gemm_bench
"""
import argparse
import subprocess
import time

import torch


def main(cases, torch_case):
    """torch_case(kind, sizes) → (closure, its floating-point operations or None); with them rates are printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.thread_time if args.threads == 1 else time.perf_counter

    def measure(run):
        start = clock()
        run()
        return clock() - start

    print(f"{'case':38} {'cones':>10} {'torch':>10}   ratio  ({args.threads} threads)")
    for case in cases:
        if args.only not in case:
            continue
        kind, *sizes = case.split()
        run, flops = torch_case(kind, [int(size) for size in sizes])
        run()
        repeats = max(3, min(500, int(0.05 / max(measure(run), 1e-6))))
        ours = theirs = float("inf")
        for _ in range(args.rounds):
            command = [args.binary, str(args.threads), str(repeats), *case.split()]
            ours = min(ours, float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            theirs = min(theirs, *(measure(run) for _ in range(repeats)))
        show = lambda s: f"{flops / s * 1e-9:6.1f} GF/s" if flops else f"{s * 1e6:7.1f} µs"
        print(f"{case:38} {show(ours):>10} {show(theirs):>10}   {theirs / ours:5.2f}", flush=True)
