// Times one matrix product or convolution (bench.h says how):
//
//   gemm_bench THREADS REPEATS linear M K N | outer M K N | conv|convdx|convdw B H W C O KERNEL STRIDE
#include <memory>

#include "bench.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

using namespace cones;
using namespace cones::bench;

namespace {

// A layer with its weight, which it refers to.
template <class Weights>
struct Layer {
  Tensor values;
  Parameter parameter;
  Weights weights;
  Layer(const Context& context, const Shape& shape)
      : values(random_tensor(context, shape)),
        parameter{"w", shape, DType::f32, read_memory(values.host())},
        weights(context, &parameter, nullptr) {}
};

std::function<void()> make_case(const Context& context, const std::string& kind, const Sizes& d) {
  if ((kind == "linear" || kind == "outer") && d.size() == 3) {
    const Tensor x = random_tensor(context, {d[0], d[1]}), y = random_tensor(context, {d[0], d[2]});
    if (kind == "outer") return [=, &context] { context.backend->outer(context, y, x); };
    const auto layer = std::make_shared<Layer<LinearWeights>>(context, Shape{d[2], d[1]});
    return [=, &context] { linear_forward(context, x, layer->weights); };
  }
  if (!kind.starts_with("conv") || d.size() != 7) return nullptr;
  const Shape shape{d[0], d[1], d[2], d[3]};
  const Tensor x = random_tensor(context, shape);
  const auto layer = std::make_shared<Layer<ConvWeights>>(context, Shape{d[4], d[3], d[5], d[5]});
  const int pad = static_cast<int>(d[5] / 2);
  const Conv2dOptions options{static_cast<int>(d[6]), pad, pad, pad, pad};
  const Tensor dy = random_tensor(context, conv2d_forward(context, x, layer->weights, options).shape());
  if (kind == "conv") return [=, &context] { conv2d_forward(context, x, layer->weights, options); };
  if (kind == "convdx") return [=, &context] { conv2d_backward_input(context, dy, layer->weights, options, shape); };
  if (kind == "convdw") return [=, &context] { conv2d_backward_weight(context, dy, x, layer->weights, options); };
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv, make_case); }
