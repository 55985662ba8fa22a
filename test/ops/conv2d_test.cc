#include "ops/conv2d.h"

#include <algorithm>
#include <cstring>

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

using Values = std::vector<double>;

struct Case {
  index_t batch, height, width, in, out, kernel;
  Conv2dOptions options;

  index_t out_height() const {
    return (height + options.pad_top + options.pad_bottom - kernel) / options.stride + 1;
  }
  index_t out_width() const { return (width + options.pad_left + options.pad_right - kernel) / options.stride + 1; }
  Shape x() const { return {batch, height, width, in}; }
  Shape w() const { return {out, in, kernel, kernel}; }
  Shape y() const { return {batch, out_height(), out_width(), out}; }
  std::string name() const { return x().text() + " * " + w().text() + " stride " + std::to_string(options.stride); }
};

constexpr Conv2dOptions kSame{.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
constexpr Conv2dOptions kHalve{.stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
constexpr Conv2dOptions kHalveVae{.stride = 2, .pad_top = 0, .pad_left = 0, .pad_bottom = 1, .pad_right = 1};

const Case kCases[] = {
    {2, 5, 4, 3, 5, 3, kSame},        // few channels are gathered
    {1, 3, 3, 17, 9, 3, kSame},       // implicit
    {2, 4, 3, 33, 4, 3, kSame},       // to few channels
    {1, 5, 4, 18, 7, 3, kSame},       // implicit, padded
    {1, 1, 1, 16, 8, 3, kSame},      // padding only
    {2, 6, 5, 18, 7, 3, kHalve},      // odd and even sides
    {1, 5, 6, 3, 4, 3, kHalve},
    {1, 6, 7, 20, 2, 3, kHalveVae},
    {1, 5, 5, 17, 3, 3, {}},          // no padding
    {2, 3, 4, 19, 6, 1, {}},
    {1, 5, 6, 4, 20, 1, {.stride = 2}},  // pixels that meet no tap
    {1, 4, 3, 17, 3, 3, {.stride = 1, .pad_top = 2, .pad_left = 0, .pad_bottom = 1, .pad_right = 2}},
};

std::size_t offset(const Shape& s, index_t a, index_t b, index_t c, index_t d) {
  return static_cast<std::size_t>(((a * s[1] + b) * s[2] + c) * s[3] + d);
}

Values reference_forward(const Case& c, const Values& x, const Values& w) {
  Values y(static_cast<std::size_t>(c.y().size()));
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t oy = 0; oy < c.out_height(); ++oy)
      for (index_t ox = 0; ox < c.out_width(); ++ox)
        for (index_t o = 0; o < c.out; ++o) {
          double sum = 0;
          for (index_t kh = 0; kh < c.kernel; ++kh)
            for (index_t kw = 0; kw < c.kernel; ++kw) {
              const index_t iy = oy * c.options.stride + kh - c.options.pad_top;
              const index_t ix = ox * c.options.stride + kw - c.options.pad_left;
              if (iy < 0 || ix < 0 || iy >= c.height || ix >= c.width) continue;
              for (index_t i = 0; i < c.in; ++i)
                sum += x[offset(c.x(), b, iy, ix, i)] * w[offset(c.w(), o, i, kh, kw)];
            }
          y[offset(c.y(), b, oy, ox, o)] = sum;
        }
  return y;
}

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct Stored {
  std::vector<float> values;
  Parameter parameter;
  Stored(const char* name, const Values& from, const Shape& shape) : values(from.begin(), from.end()) {
    parameter = {name, shape, DType::f32, read_memory(values.data())};
  }
};

struct Collected : ParameterGradients {
  Tensor weight, bias;
  bool wants(const Parameter&) const override { return true; }
  void add(const Context&, const Parameter& parameter, const Tensor& gradient) override {
    (parameter.name == "w" ? weight : bias) = gradient;
  }
};

Values random(const Shape& shape, unsigned seed) { return random_values(static_cast<std::size_t>(shape.size()), seed); }

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() &&
         std::memcmp(a.host(), b.host(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

// Sums of at most 9 · 33 terms of size about 1, rounded at most twice each, gather √594 · 2⁻²⁴ at random; the largest
// values are well above 1. Four standard deviations.
constexpr double kTolerance = 100 * 0x1p-24;

}  // namespace

TEST("conv2d equals the convolution in double, and its gradients the differences of it") {
  for (const Case& c : kCases) {
    const Values x = random(c.x(), 1), w = random(c.w(), 2), bias = random({c.out}, 3), dy = random(c.y(), 4),
                 residual = random(c.y(), 5), group = random({c.batch, c.out}, 6);
    Values want = reference_forward(c, x, w), want_group(group.size(), 0.0), want_bias(bias.size(), 0.0);
    const std::size_t channels = bias.size(), per_row = want.size() / static_cast<std::size_t>(c.batch);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const std::size_t of_group = i / per_row * channels + i % channels;
      want[i] += bias[i % channels] + group[of_group] + residual[i];
      want_group[of_group] += dy[i];
      want_bias[i % channels] += dy[i];
    }
    // Convolution is linear in x and in w, so differences are exact for any step.
    const Values want_dx =
        finite_differences(x, [&](const Values& v) { return dot(dy, reference_forward(c, v, w)); }, 1.0);
    const Values want_dw =
        finite_differences(w, [&](const Values& v) { return dot(dy, reference_forward(c, x, v)); }, 1.0);

    const Stored weight("w", w, c.w()), bias_stored("b", bias, {c.out});
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(2, isa);
      const ConvWeights layer(context, &weight.parameter, &bias_stored.parameter);
      Collected collected;
      Tape tape(context, &collected);
      const Var vx(to_tensor(context, x, c.x()), true), vr(to_tensor(context, residual, c.y()), true),
          vg(to_tensor(context, group, {c.batch, c.out}), true);
      const Var y = conv2d(tape, vx, layer, c.options, &vr, &vg);
      EXPECT(y.shape() == c.y());
      EXPECT_CLOSE(c.name() + " y", y.value(), want, kTolerance);
      Tape::accumulate(context, y.gradient(), to_tensor(context, dy, c.y()));
      tape.backward();
      EXPECT_CLOSE(c.name() + " dx", vx.gradient()->tensor, want_dx, kTolerance);
      EXPECT_CLOSE(c.name() + " dw", collected.weight, want_dw, kTolerance);
      EXPECT_CLOSE(c.name() + " db", collected.bias, want_bias, 0x1p-24);  // double sums, rounded once
      EXPECT_CLOSE(c.name() + " dgroup", vg.gradient()->tensor, want_group, 0x1p-24);
      EXPECT_CLOSE(c.name() + " dresidual", vr.gradient()->tensor, dy, 0);
      EXPECT(collected.weight.shape() == c.w() && vx.gradient()->tensor.shape() == c.x());
    }
  }
}

TEST("conv2d gives the same bits on one and two threads and for any batch") {
  for (const char* isa : instruction_sets())
    for (const Case& c : {Case{3, 11, 13, 70, 75, 3, kSame}, Case{3, 12, 13, 40, 75, 3, kHalve},
                          Case{3, 32, 32, 4, 75, 3, kSame}, Case{3, 24, 24, 75, 3, 3, kSame}}) {
      const Values x = random(c.x(), 1), dy = random(c.y(), 2);
      const Stored weight("w", random(c.w(), 3), c.w());
      std::vector<Tensor> forward, backward, gradient;
      for (int threads : {1, 2}) {
        const Context context = make_context(threads, isa);
        const ConvWeights layer(context, &weight.parameter, nullptr);
        const Tensor tx = to_tensor(context, x, c.x()), tdy = to_tensor(context, dy, c.y());
        forward.push_back(conv2d_forward(context, tx, layer, c.options));
        backward.push_back(conv2d_backward_input(context, tdy, layer, c.options, c.x()));
        gradient.push_back(conv2d_backward_weight(context, tdy, tx, layer, c.options));
        const Shape single{1, c.height, c.width, c.in};
        for (index_t b = 0; b < c.batch; ++b) {
          EXPECT(same_bits(conv2d_forward(context, tx.slice(b, b + 1), layer, c.options),
                           forward.back().slice(b, b + 1)));
          EXPECT(same_bits(conv2d_backward_input(context, tdy.slice(b, b + 1), layer, c.options, single),
                           backward.back().slice(b, b + 1)));
        }
      }
      EXPECT(same_bits(forward[0], forward[1]));
      EXPECT(same_bits(backward[0], backward[1]));
      EXPECT(same_bits(gradient[0], gradient[1]));
    }
}

TEST("planning a convolution allocates what running allocates") {
  for (const Case& c : kCases) {
    const Stored weight("w", random(c.w(), 1), c.w()), bias("b", random({c.out}, 2), {c.out});
    const auto run = [&](const Context& context) {
      const ConvWeights layer(context, &weight.parameter, &bias.parameter);
      const Tensor x = context.zeros(c.x()), dy = context.zeros(c.y()), group = context.zeros({c.batch, c.out});
      conv2d_forward(context, x, layer, c.options, nullptr, &group);
      conv2d_backward_input(context, dy, layer, c.options, c.x());
      conv2d_backward_weight(context, dy, x, layer, c.options);
      return context.memory->peak();
    };
    const Context planning = make_context(2).plan();
    EXPECT(run(planning) == run(make_context(2)));
  }
}
