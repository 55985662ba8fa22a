// Elementwise ops. Sums and products of two 16-bit numbers, rounded once to fp32 and once more to 16 bits, are equal bit for bit.
// Activations: polynomials and divisions of fewer than 16 roundings, 2⁻²⁰ of the result, and an exponent of up to x² that was itself
// rounded, 2⁻²³·x² of it; their derivatives, |f'| ≤ 1.2, are sums whose terms are below 1 + |x|: 2⁻²⁰·(1 + x²).
#include <array>
#include <cmath>

#include "case_table.h"

namespace cones::test {
namespace {

using Values = std::vector<double>;

/// Where activations have their ends and bends, then random.
Tensor arguments(Run& run, const Shape& shape) {
  const float ends[] = {0, -0.0f, 1, -1, 5.5f, -5.5f, 9, -9, 1e-4f, -1e-4f, -1.28f, -0.75f, 2.5f, -2.5f};
  std::vector<float> values(at(shape.size()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = i < std::size(ends) ? ends[i] : static_cast<float>(std::sin(static_cast<double>(i) * 1.7) * (i % 5 == 0 ? 8 : 2));
  return run.given(values, shape, {.rows = true});
}

void add(Run& run, const Shape& shape, int into) {
  const Tensor a = run.input(shape, {.rows = true}), b = run.input(shape, {.rows = true});
  const Tensor y = into == 0 ? a : into == 1 ? b : run.context().empty(a.shape());
  run.op([&] { run.backend().add(run.context(), a, b, y); });
  run.check("y", y, {.exact = true, .rows = true});
}

/// a·x is exact for these a; then one rounding, as an fma's.
void affine(Run& run, const Shape& shape) {
  const Tensor x = run.input(shape, {.rows = true});
  Tensor y;
  run.op([&] { y = run.backend().affine(run.context(), x, 2, -1); });
  run.check("2x − 1", y, {.exact = true, .rows = true});
  run.op([&] { y = run.backend().affine(run.context(), x, -0.3f, 0.7f); });
  run.check("0.7 − 0.3x", y, {.rows = true, .more = [&] {
                                Values bounds = run.values(x);
                                for (double& value : bounds) value = 0x1p-23 * (0.3 * std::abs(value) + 0.7);
                                return bounds;
                              }});
}

Values relative(const Values& results, const Values& x) {
  Values bounds(results.size());
  for (std::size_t i = 0; i < bounds.size(); ++i) bounds[i] = (0x1p-20 + 0x1p-23 * x[i] * x[i]) * std::abs(results[i]);
  return bounds;
}

void activation(Run& run, const Shape& shape, Activation which) {
  const Tensor x = arguments(run, shape), dy = run.input(shape, {.rows = true, .gradient = true});
  Tensor y, dx;
  run.op([&] { y = run.backend().activation_forward(run.context(), x, which); });
  run.op([&] { dx = run.backend().activation_backward(run.context(), dy, x, which); });
  run.check("y", y, {.rows = true, .more = [&] { return relative(run.values(y), run.values(x)); }});
  run.check("dx", dx, {.rows = true, .gradient = true, .more = [&] {
                         Values bounds = run.values(dy);
                         const Values at_x = run.values(x);
                         for (std::size_t i = 0; i < bounds.size(); ++i)
                           bounds[i] = 0x1p-20 * std::abs(bounds[i]) * (1 + at_x[i] * at_x[i]);
                         return bounds;
                       }});
}

void geglu(Run& run, index_t batch, index_t rows, index_t channels) {
  const Tensor x = arguments(run, {batch, rows, 2 * channels});
  const Tensor dy = run.input({batch, rows, channels}, {.scale = 0.3, .rows = true, .gradient = true});
  Tensor y, dx;
  run.op([&] { y = run.backend().geglu_forward(run.context(), x); });
  run.op([&] { dx = run.backend().geglu_backward(run.context(), dy, x); });
  run.check("y", y, {.rows = true, .more = [&] {
                       const Values all = run.values(x);
                       Values gates(at(y.size()));
                       for (std::size_t i = 0; i < gates.size(); ++i)
                         gates[i] = all[i / at(channels) * at(2 * channels) + at(channels) + i % at(channels)];
                       return relative(run.values(y), gates);
                     }});
  // d value = dy gelu(gate), d gate = dy value gelu'(gate).
  run.check("dx", dx, {.rows = true, .gradient = true, .more = [&] {
                         const Values all = run.values(x), of_y = run.values(dy);
                         Values bounds = run.values(dx);
                         for (std::size_t i = 0; i < bounds.size(); ++i) {
                           const std::size_t column = i % at(2 * channels), c = column % at(channels), row = i / at(2 * channels);
                           const double value = all[row * at(2 * channels) + c], gate = all[row * at(2 * channels) + at(channels) + c];
                           const double d = std::abs(of_y[row * at(channels) + c]);
                           bounds[i] = column < at(channels) ? (0x1p-20 + 0x1p-23 * gate * gate) * std::abs(bounds[i])
                                                             : 0x1p-20 * d * std::abs(value) * (1 + gate * gate);
                         }
                         return bounds;
                       }});
}

/// The values are those of the 16-bit type, or ones that lie between two of them, ties too; the factor is a power of two.
void cast(Run& run, const Shape& shape) {
  const DType type = run.backend().activation();
  std::vector<float> between(at(shape.size()));
  for (std::size_t i = 0; i < between.size(); ++i)
    between[i] = i % 3 == 0 ? 1 + static_cast<float>(i % 64) * 0x1p-12f : static_cast<float>(std::cos(static_cast<double>(i)) * 40);
  const Tensor x = run.input(shape, {.rows = true}), wide = run.given(between, shape, {.rows = true, .dtype = DType::f32});
  Tensor widened, halved, narrowed;
  run.op([&] { halved = run.backend().cast(run.context(), x, type, 0.5f); });
  run.check("to its own type", halved, {.exact = true, .rows = true});
  run.op([&] { narrowed = run.backend().cast(run.context(), wide, type, 0.25f); });
  run.check("from fp32", narrowed, {.exact = true, .rows = true});
  run.op([&] { widened = run.backend().cast(run.context(), x, DType::f32, 4); });
  run.check("to fp32", widened, {.exact = true, .rows = true});
  run.check("itself", run.backend().cast(run.context(), x, type, 1), {.exact = true, .rows = true});
}

}  // namespace

void elementwise_cases(Table& table) {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{2, 5, 33}, Shape{2, 9, 40}, Shape{3, 1500}}) {
    for (const int into : {0, 1, 2})
      table.add("add " + shape.text() + (into == 0 ? " into a" : into == 1 ? " into b" : ""),
                [=](Run& run) { add(run, shape, into); });
    table.add("affine " + shape.text(), [=](Run& run) { affine(run, shape); });
    table.add("cast " + shape.text(), [=](Run& run) { cast(run, shape); });
    const std::pair<Activation, const char*> functions[] = {{Activation::silu, "silu"},
                                                            {Activation::gelu, "gelu"},
                                                            {Activation::quick_gelu, "quick_gelu"},
                                                            {Activation::gelu_tanh, "gelu_tanh"},
                                                            {Activation::relu, "relu"}};
    for (const auto& [which, name] : functions)
      table.add(std::string("activation ") + name + " " + shape.text(), [=](Run& run) { activation(run, shape, which); });
  }
  for (const auto& [batch, rows, channels] :
       std::initializer_list<std::array<index_t, 3>>{{1, 1, 1}, {2, 3, 5}, {2, 9, 40}, {3, 33, 36}, {2, 5, 1280}})
    table.add("geglu " + sizes({batch, rows, channels}), [=](Run& run) { geglu(run, batch, rows, channels); });
}

}  // namespace cones::test
