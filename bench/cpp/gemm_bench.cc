// Times one matrix product or convolution:
//
//   gemm_bench THREADS REPEATS linear M K N | outer M K N | conv|convdx|convdw B H W C O KERNEL STRIDE
//
// prints the least seconds of the repeats: of processor time on one thread (the machine may be busy), else of wall time.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "kernels/kernels.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

using namespace cones;

namespace {

double now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

Tensor random_tensor(const Context& context, const Shape& shape) {
  Tensor tensor = context.empty(shape);
  std::uint32_t state = 1;
  for (index_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.data()[i] = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return tensor;
}

void measure(int threads, int repeats, const std::function<void()>& f) {
  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 1e9;
  f();
  for (int i = 0; i < repeats; ++i) {
    const double start = now(clock);
    f();
    best = std::min(best, now(clock) - start);
  }
  std::printf("%.9f\n", best);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return std::fprintf(stderr, "usage: see the head of gemm_bench.cc\n"), 2;
  const int threads = std::atoi(argv[1]), repeats = std::atoi(argv[2]);
  const std::string kind = argv[3];
  std::vector<index_t> d;
  for (int i = 4; i < argc; ++i) d.push_back(std::atoll(argv[i]));
  Context context;
  context.memory = Memory::create(SIZE_MAX);
  context.pool = std::make_shared<ThreadPool>(threads);
  context.kernels = best_kernels();

  if (kind == "linear" || kind == "outer") {
    const Tensor x = random_tensor(context, {d[0], d[1]}), w = random_tensor(context, {d[2], d[1]});
    const Tensor y = random_tensor(context, {d[0], d[2]});
    const Parameter weight{"w", w.shape(), DType::f32, reinterpret_cast<const std::byte*>(w.data())};
    const LinearWeights layer(context, &weight, nullptr);
    measure(threads, repeats, [&] { kind == "linear" ? linear_forward(context, x, layer) : gemm_outer(context, y, x); });
    return 0;
  }
  if (d.size() != 7) return std::fprintf(stderr, "usage: see the head of gemm_bench.cc\n"), 2;
  const Shape shape{d[0], d[1], d[2], d[3]};
  const Tensor x = random_tensor(context, shape), w = random_tensor(context, {d[4], d[3], d[5], d[5]});
  const Parameter weight{"w", w.shape(), DType::f32, reinterpret_cast<const std::byte*>(w.data())};
  const ConvWeights layer(context, &weight, nullptr);
  const int pad = static_cast<int>(d[5] / 2);
  const Conv2dOptions options{static_cast<int>(d[6]), pad, pad, pad, pad};
  const Tensor dy = random_tensor(context, conv2d_forward(context, x, layer, options).shape());
  measure(threads, repeats, [&] {
    if (kind == "conv") conv2d_forward(context, x, layer, options);
    if (kind == "convdx") conv2d_backward_input(context, dy, layer, options, shape);
    if (kind == "convdw") conv2d_backward_weight(context, dy, x, layer, options);
  });
}
