// Training rows, the loss and Adam: fp64 per element, so all bits, but for
//   noised_rows  exp's last bit in fp64: the fp32 results may be one rounding apart, 2⁻²³ of themselves and of x_t's two terms
//   mse_loss     the order of the sum in fp64, 2⁻⁴⁰ of the means; the gradient has 16 bits of an fp64 (or, on the CPU, fp32) value
#include <array>
#include <cmath>
#include <limits>

#include "case_table.h"

namespace cones::test {
namespace {

void noised_rows(Run& run, index_t batch, index_t height, index_t width, index_t channels, Prediction prediction) {
  const index_t pictures = 3;
  const Tensor moments = run.input({pictures, height, width, 2 * channels}, {.scale = 3, .dtype = DType::f32});
  std::vector<double> alphas;
  for (int t = 0; t < 10; ++t) alphas.push_back(std::pow(0.9, t));
  std::vector<NoisedRow> rows;
  for (index_t b = 0; b < batch; ++b)
    rows.push_back({(b * 2 + 1) % pictures, static_cast<int>(b * 7 % 10), {static_cast<std::uint64_t>(b / 2 + 5), static_cast<std::uint64_t>(b) * 1001 + 3}});
  // The rows depend on nothing but themselves: `pick` needs an input by rows to know that one is alone.
  const Tensor rows_marker = run.input({batch, 1}, {.rows = true});
  rows = run.pick(rows);
  Tensor latents, target;
  run.op([&] { run.backend().noised_rows(run.context(), moments, 0.18215, alphas, prediction, rows, latents, target); });
  const auto bound = [&](const Tensor& result) {
    return [&] {
      std::vector<double> bounds = run.values(result);
      for (double& value : bounds) value = 0x1p-23 * std::abs(value) + 0x1p-40;
      return bounds;
    };
  };
  run.check("latents", latents, {.rows = true, .more = bound(latents)});
  if (prediction == Prediction::epsilon)
    run.check("target", target, {.exact = true, .rows = true});
  else
    run.check("target", target, {.rows = true, .more = bound(target)});
}

void mse_loss(Run& run, const Shape& shape) {
  const Tensor output = run.input(shape, {.rows = true, .dtype = DType::f32});
  const Tensor target = run.input(shape, {.rows = true, .dtype = DType::f32});
  const Tensor carries_scale = run.input({shape[0], 1}, {.rows = true, .gradient = true});  // so do results: run with a scale too
  std::vector<double> weights(at(shape[0]));
  for (std::size_t b = 0; b < weights.size(); ++b) weights[b] = (b % 3 + 1) * 0.25;
  weights = run.pick(weights);
  MseResult loss, unasked;
  run.op([&] { loss = run.backend().mse_loss(run.context(), output, target, weights, true); });
  run.op([&] { unasked = run.backend().mse_loss(run.context(), output, target, weights, false); });
  for (const MseResult* result : {&loss, &unasked}) {
    const std::vector<double> means = run.backend().read_losses(run.context(), *result);
    run.check("means", means, {.rows = true, .more = [means] {
                                 std::vector<double> bounds = means;
                                 for (double& value : bounds) value *= 0x1p-40;
                                 return bounds;
                               }});
  }
  if (unasked.gradient.defined()) run.check("a gradient that nobody asked for", {1.0}, {.more = [] { return std::vector<double>(2); }});
  run.check("gradient", loss.gradient, {.rows = true, .gradient = true, .more = [&] {
                                          std::vector<double> bounds = run.values(loss.gradient);
                                          for (double& value : bounds) value = 0x1p-23 * std::abs(value);
                                          return bounds;
                                        }});
}

enum class Finite { nobody_asks, yes, no };

/// `no`: of a loss with a NaN or an infinity among its rows, after which nothing may change.
void adam(Run& run, index_t count, bool fp32, Finite finite, std::int64_t step, bool no_gradient = false, double weight_decay = 0) {
  const Input wide{.dtype = DType::f32};
  Tensor gradient;
  if (!no_gradient) gradient = run.input({count}, {.scale = 0.1, .gradient = true, .dtype = fp32 ? std::optional(DType::f32) : std::nullopt});
  const Tensor values = run.input({count}, wide), first = run.input({count}, {.scale = 0.01, .dtype = DType::f32});
  std::vector<float> squares(at(count));
  for (std::size_t i = 0; i < squares.size(); ++i) squares[i] = static_cast<float>(i % 9) * 1e-4f;
  const Tensor second = run.given(squares, {count}, wide);
  Tensor flag;
  if (finite != Finite::nobody_asks) {
    std::vector<float> output(3 * 5000, 1.0f);
    if (finite == Finite::no) output[7000] = count % 2 == 0 ? NAN : INFINITY;
    const double weights[] = {1, 0.5, 2};
    const Tensor target = run.input({3, 5000}, wide);
    run.op([&] {
      flag = run.backend().mse_loss(run.context(), run.given(output, {3, 5000}, wide), target, weights, false).finite;
    });
  }
  run.op([&] {
    run.backend().adam(run.context(), {.learning_rate = 5e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .step = step, .weight_decay = weight_decay},
                       gradient,
                       values, first, second, flag);
  });
  run.check("values", values, {.exact = true});
  run.check("first moment", first, {.exact = true});
  run.check("second moment", second, {.exact = true});
}

/// Squares are summed in fp64 in any order: the last bit of a product may differ.
void limit_norm(Run& run, index_t count, double limit) {
  const Tensor values = run.input({count}, {.dtype = DType::f32});
  run.op([&] { run.backend().limit_norm(run.context(), values, limit); });
  run.check("values", values, {.more = [&] {
                                 std::vector<double> bounds = run.values(values);
                                 for (double& value : bounds) value = 0x1p-23 * std::abs(value);
                                 return bounds;
                               }});
}

}  // namespace

void training_cases(Table& table) {
  for (const index_t count : {1, 5, 256, 768})
    for (const double limit : {0.1, 3.0, 1000.0})
      table.add("limit_norm " + sizes({count}) + " to " + std::to_string(limit), [=](Run& run) { limit_norm(run, count, limit); });
  for (const Prediction prediction : {Prediction::epsilon, Prediction::v_prediction})
    for (const auto& [b, h, w, c] : std::initializer_list<std::array<index_t, 4>>{{1, 1, 1, 1}, {3, 5, 7, 4}, {4, 8, 8, 4}, {70, 1, 2, 4}})
      table.add("noised_rows " + sizes({b, h, w, c}) + (prediction == Prediction::epsilon ? " epsilon" : " v"),
                [=, b = b, h = h, w = w, c = c](Run& run) { noised_rows(run, b, h, w, c, prediction); });
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{3, 5, 7, 4}, Shape{2, 16, 33, 4}, Shape{2, 40, 40, 4}, Shape{70, 2, 1, 4}})
    table.add("mse_loss " + shape.text(), [=](Run& run) { mse_loss(run, shape); });
  for (const bool fp32 : {false, true})
    for (const Finite finite : {Finite::nobody_asks, Finite::yes, Finite::no})
      for (const index_t count : {1, 768, 1001})
        table.add("adam " + std::to_string(count) + (fp32 ? " fp32 gradient" : "") +
                      (finite == Finite::no ? " not finite" : finite == Finite::yes ? " finite" : ""),
                  [=](Run& run) { adam(run, count, fp32, finite, count); });
  table.add("adam with weight decay", [](Run& run) { adam(run, 5001, true, Finite::nobody_asks, 2, false, 0.3); });
  table.add("adam without a gradient", [](Run& run) { adam(run, 33, true, Finite::nobody_asks, 3, true); });
}

}  // namespace cones::test
