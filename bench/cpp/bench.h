// What the kernels' benchmarks share: arguments, inputs and the clock.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "cpu/backend.h"

namespace cones::bench {

using Sizes = std::vector<index_t>;
/// What is to be timed for a kind of work and its sizes; null when they make no case.
using MakeCase = std::function<void()>(const Context& context, const std::string& kind, const Sizes& sizes);

inline Tensor random_tensor(const Context& context, const Shape& shape) {
  Tensor tensor = context.empty(shape);
  std::uint32_t state = 1;
  for (index_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.host()[i] = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return tensor;
}

inline double seconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline Context make_context(int threads) {
  Context context;
  context.memory = Memory::create(SIZE_MAX);
  context.backend = cpu_backend(threads);
  return context;
}

/// PROGRAM THREADS REPEATS KIND SIZE…: prints the least seconds of the repeats, of processor time on one thread (the
/// machine may be busy), else of wall time.
inline int run(int argc, char** argv, MakeCase& make_case) {
  const int threads = argc > 4 ? std::atoi(argv[1]) : 0, repeats = argc > 4 ? std::atoi(argv[2]) : 0;
  Sizes sizes;
  for (int i = 4; i < argc; ++i) sizes.push_back(std::atoll(argv[i]));
  const Context context = make_context(std::max(threads, 1));
  const std::function<void()> timed = threads > 0 ? make_case(context, argv[3], sizes) : nullptr;
  if (!timed) return std::fprintf(stderr, "usage: see the head of this program's source\n"), 2;

  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 1e9;
  timed();
  for (int i = 0; i < repeats; ++i) {
    const double start = seconds(clock);
    timed();
    best = std::min(best, seconds(clock) - start);
  }
  std::printf("%.9f\n", best);
  return 0;
}

}  // namespace cones::bench
