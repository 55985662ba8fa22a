// Convolutions: sums of kh·kw·I products forward, of at most kh·kw·O for the input's gradient, and of all pixels for the weights'.
#include "case_table.h"

namespace cones::test {
namespace {

struct Conv {
  index_t batch, height, width, in, out, kernel_h, kernel_w;
  int stride = 1, top = 0, left = 0, bottom = 0, right = 0;
  bool bias = false, residual = false, group_bias = false, wide = false;

  Conv2dOptions options() const { return {stride, top, left, bottom, right}; }
  Shape x() const { return {batch, height, width, in}; }
  Shape weight() const { return {out, in, kernel_h, kernel_w}; }
  Shape y() const {
    return {batch, (height + top + bottom - kernel_h) / stride + 1, (width + left + right - kernel_w) / stride + 1, out};
  }
  double taps() const { return static_cast<double>(kernel_h * kernel_w); }
  std::string name() const {
    return sizes({batch, height, width, in}) + " to " + std::to_string(out) + ", " + sizes({kernel_h, kernel_w}) + " stride " +
           std::to_string(stride) + " padding " + sizes({top, left, bottom, right});
  }
};

void forward(Run& run, const Conv& c) {
  const Parameter &weight = run.weight(c.weight(), DType::f16), &bias = run.weight({c.out});
  const PreparedRef prepared = run.backend().prepare_conv2d(run.context(), weight, c.bias ? &bias : nullptr);
  const Tensor x = run.input(c.x(), {.rows = true});
  const Tensor residual = c.residual ? run.input(c.y(), {.rows = true}) : Tensor();
  const Tensor group_bias = c.group_bias ? run.input({c.batch, c.out}, {.rows = true}) : Tensor();
  const DType dtype = c.wide ? DType::f32 : run.backend().activation();
  Tensor y;
  run.op([&] {
    y = run.backend().conv2d_forward(run.context(), x, *prepared, c.options(), c.y().with_first(x.dim(0)),
                                     c.residual ? &residual : nullptr, c.group_bias ? &group_bias : nullptr, dtype);
  });
  run.check("y", y, {.terms = c.taps() * static_cast<double>(c.in) + 3, .rows = true});
}

void backward_input(Run& run, const Conv& c) {
  const PreparedRef prepared = run.backend().prepare_conv2d(run.context(), run.weight(c.weight(), DType::bf16), nullptr);
  const Tensor dy = run.input(c.y(), {.scale = 0.1, .rows = true, .gradient = true});
  Tensor dx;
  run.op([&] {
    dx = run.backend().conv2d_backward_input(run.context(), dy, *prepared, c.options(), c.x().with_first(dy.dim(0)));
  });
  run.check("dx", dx, {.terms = c.taps() * static_cast<double>(c.out), .rows = true, .gradient = true});
}

void backward_weight(Run& run, const Conv& c) {
  const Tensor x = run.input(c.x()), dy = run.input(c.y(), {.scale = 0.1, .gradient = true});
  Tensor dw;
  run.op([&] { dw = run.backend().conv2d_backward_weight(run.context(), dy, x, c.weight(), c.options()); });
  run.check("dW", dw, {.terms = static_cast<double>(dy.rows())});
}

}  // namespace

void conv2d_cases(Table& table) {
  const Conv cases[] = {
      {1, 1, 1, 1, 1, 1, 1},
      {2, 5, 7, 3, 9, 3, 3, 1, 1, 1, 1, 1, true},                          // few inputs, as a UNet's first
      {2, 6, 5, 4, 40, 3, 3, 1, 1, 1, 1, 1, true, false, false, true},
      {2, 9, 6, 40, 4, 3, 3, 1, 1, 1, 1, 1, true, false, false, true},     // few outputs, as its last
      {2, 7, 5, 33, 3, 3, 3, 1, 1, 1, 1, 1, true},
      {3, 4, 3, 17, 33, 3, 3, 1, 1, 1, 1, 1, true, true, true},
      {2, 8, 9, 40, 72, 3, 3, 1, 1, 1, 1, 1, true, true, true},
      {2, 9, 8, 24, 16, 3, 3, 2, 1, 1, 1, 1, true},                        // downsampling
      {2, 8, 7, 13, 8, 3, 3, 2, 0, 0, 1, 1, true},                         // the autoencoder's
      {2, 5, 5, 16, 24, 1, 1, 1, 0, 0, 0, 0, true, true},
      {2, 5, 6, 7, 5, 2, 4, 1, 0, 3, 1, 0, false, false, true},
      {2, 28, 28, 3, 16, 14, 14, 14},                                      // CLIP's patches
      {1, 7, 7, 5, 6, 1, 1, 3},                                            // pixels of x that no output sees
      {1, 4, 4, 320, 64, 3, 3, 1, 1, 1, 1, 1, false, true},                // long sums of few pixels: split
  };
  for (const Conv& c : cases) {
    table.add("conv2d_forward " + c.name() + (c.bias ? " +bias" : "") + (c.residual ? " +residual" : "") +
                  (c.group_bias ? " +group bias" : "") + (c.wide ? " to fp32" : ""),
              [c](Run& run) { forward(run, c); });
    table.add("conv2d_backward_input " + c.name(), [c](Run& run) { backward_input(run, c); });
    table.add("conv2d_backward_weight " + c.name(), [c](Run& run) { backward_weight(run, c); });
  }
  const Conv tall{1, 40, 33, 8, 16, 3, 3, 1, 1, 1, 1, 1};  // many pixels: the weights' sums are split
  table.add("conv2d_backward_weight " + tall.name(), [tall](Run& run) { backward_weight(run, tall); });
}

}  // namespace cones::test
