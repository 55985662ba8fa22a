// Times one op that is not a matrix product alone:
//
//   vector_bench THREADS REPEATS attention|attention_backward B T S HEADS DIM
//                                group_norm|group_norm_silu|group_norm_backward B T C
//                                layer_norm|layer_norm_backward ROWS C
//                                geglu|geglu_backward ROWS C
//                                silu|gelu|quick_gelu|gelu_tanh|add N
//
// prints the least seconds of the repeats: of processor time on one thread (the machine may be busy), else of wall time.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "ops/activation.h"
#include "ops/add.h"
#include "ops/attention.h"
#include "ops/geglu.h"
#include "ops/group_norm.h"
#include "ops/layer_norm.h"

using namespace cones;

namespace {

Tensor random_tensor(const Context& context, const Shape& shape) {
  Tensor tensor = context.empty(shape);
  std::uint32_t state = 1;
  for (index_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.data()[i] = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return tensor;
}

double seconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double measure(int threads, int repeats, const std::function<void()>& f) {
  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 1e9;
  f();
  for (int i = 0; i < repeats; ++i) {
    const double start = seconds(clock);
    f();
    best = std::min(best, seconds(clock) - start);
  }
  return best;
}

std::function<void()> make_case(const Context& context, const std::string& kind, const std::vector<index_t>& d) {
  const bool backward = kind.ends_with("_backward");
  if (kind.starts_with("attention") && d.size() == 5) {
    const AttentionOptions options{static_cast<int>(d[3])};
    const Tensor q = random_tensor(context, {d[0], d[1], d[3] * d[4]}), k = random_tensor(context, {d[0], d[2], d[3] * d[4]});
    Tensor logsumexp;
    const Tensor out = attention_forward(context, q, k, k, options, &logsumexp);
    if (!backward) return [=, &context] { attention_forward(context, q, k, k, options); };
    return [=, &context] {
      Tensor dq, dk, dv;
      attention_backward(context, out, q, k, k, out, logsumexp, options, &dq, &dk, &dv);
    };
  }
  if ((kind.starts_with("group_norm") && d.size() == 3) || (kind.starts_with("layer_norm") && d.size() == 2)) {
    const bool group = kind.starts_with("group_norm");
    const Tensor x = random_tensor(context, group ? Shape{d[0], d[1], d[2]} : Shape{d[0], d[1]});
    const std::vector<float> ones(static_cast<std::size_t>(x.columns()), 1.0f);
    const Parameter weight{"w", {x.columns()}, DType::f32, reinterpret_cast<const std::byte*>(ones.data())};
    const NormWeights weights(context, &weight, &weight);
    const GroupNormOptions options{32, 1e-5f, kind != "group_norm"};
    Tensor statistics;
    if (group)
      group_norm_forward(context, x, weights, options, &statistics);
    else
      layer_norm_forward(context, x, weights, 1e-5f, &statistics);
    return [=, &context] {
      Tensor dx;
      if (group && backward) group_norm_backward(context, x, x, statistics, weights, options, &dx, nullptr, nullptr);
      if (group && !backward) group_norm_forward(context, x, weights, options);
      if (!group && backward) layer_norm_backward(context, x, x, statistics, weights, &dx, nullptr, nullptr);
      if (!group && !backward) layer_norm_forward(context, x, weights, 1e-5f);
    };
  }
  if (kind.starts_with("geglu") && d.size() == 2) {
    const Tensor x = random_tensor(context, {d[0], 2 * d[1]}), dy = random_tensor(context, {d[0], d[1]});
    return [=, &context] { backward ? geglu_backward(context, dy, x) : geglu_forward(context, x); };
  }
  const std::map<std::string, Activation> activations{{"silu", Activation::silu},
                                                      {"gelu", Activation::gelu},
                                                      {"quick_gelu", Activation::quick_gelu},
                                                      {"gelu_tanh", Activation::gelu_tanh}};
  if (d.size() != 1 || (kind != "add" && !activations.contains(kind))) return nullptr;
  const Tensor x = random_tensor(context, {d[0]});
  if (kind == "add") return [=, &context] { add_forward(context, x, x); };
  return [=, &context, activation = activations.at(kind)] { activation_forward(context, x, activation); };
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "usage: see the head of vector_bench.cc\n"), 2;
  const int threads = std::atoi(argv[1]), repeats = std::atoi(argv[2]);
  std::vector<index_t> d;
  for (int i = 4; i < argc; ++i) d.push_back(std::atoll(argv[i]));
  Context context;
  context.memory = Memory::create(SIZE_MAX);
  context.pool = std::make_shared<ThreadPool>(threads);
  context.kernels = best_kernels();
  const auto run = make_case(context, argv[3], d);
  if (!run) return std::fprintf(stderr, "usage: see the head of vector_bench.cc\n"), 2;
  std::printf("%.9f\n", measure(threads, repeats, run));
}
