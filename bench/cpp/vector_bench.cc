// Times one op that is not a matrix product alone (bench.h says how):
//
//   vector_bench THREADS REPEATS attention|attention_backward B T S HEADS DIM
//                                group_norm|group_norm_silu|group_norm_backward B T C
//                                layer_norm|layer_norm_backward ROWS C
//                                geglu|geglu_backward ROWS C
//                                silu|gelu|quick_gelu|gelu_tanh|add N
#include <map>

#include "bench.h"
#include "ops/activation.h"
#include "ops/add.h"
#include "ops/attention.h"
#include "ops/geglu.h"
#include "ops/group_norm.h"
#include "ops/layer_norm.h"

using namespace cones;
using namespace cones::bench;

namespace {

std::function<void()> make_case(const Context& context, const std::string& kind, const Sizes& d) {
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
    const Parameter weight{"w", {x.columns()}, DType::f32, read_memory(ones.data())};
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

int main(int argc, char** argv) { return run(argc, argv, make_case); }
