// Activations, GEGLU, sums, concatenation, chosen rows and nearest-neighbour resizing.
#include <cmath>
#include <cstring>

#include "harness.h"
#include "ops/activation.h"
#include "ops/add.h"
#include "ops/choose_rows.h"
#include "ops/concat.h"
#include "ops/geglu.h"
#include "ops/upsample.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr Activation kActivations[] = {Activation::silu, Activation::gelu, Activation::quick_gelu,
                                       Activation::gelu_tanh};

double reference(Activation kind, double x) {
  switch (kind) {
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::gelu: return x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    case Activation::quick_gelu: return x / (1 + std::exp(-1.702 * x));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

double derivative(Activation kind, double x) {
  const double step = 1e-5;
  return (reference(kind, x + step) - reference(kind, x - step)) / (2 * step);
}

/// Small, ordinary and large values of both signs.
std::vector<double> sample_inputs() {
  std::vector<double> x{0, -0.0, 1e-20, -1e-20, 1e-4, -1e-4, 88, -88, 104, -104, 1e4, -1e4};
  for (double v = -20; v <= 20; v += 0.0137) x.push_back(static_cast<float>(v));
  return x;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() && std::memcmp(a.host(), b.host(), static_cast<std::size_t>(a.size()) * 4) == 0;
}

constexpr double kRounding = 6e-8;  // of fp32

}  // namespace

TEST("activation: every element is within a few roundings of the definition") {
  const auto x = sample_inputs();
  const Shape shape{static_cast<index_t>(x.size())};
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const Tensor input = to_tensor(context, x, shape);
    for (Activation kind : kActivations) {
      const Tensor y = activation_forward(context, input, kind);
      const Tensor dx = activation_backward(context, to_tensor(context, std::vector<double>(x.size(), 2.0), shape),
                                            input, kind);
      for (std::size_t i = 0; i < x.size(); ++i) {
        // The argument u of an exponential e^u carries its rounding, |u| ε, into the result; u ≤ x² here, and where it
        // is large and the result is below 1e-9, it does not count.
        const double want = reference(kind, x[i]), slope = 2 * derivative(kind, x[i]), u = std::min(x[i] * x[i], 20.0);
        EXPECT(std::abs(y.host()[i] - want) <= kRounding * (6 + u) * std::abs(want) + 1e-9 * (std::abs(x[i]) > 3));
        EXPECT(std::abs(dx.host()[i] - slope) <= 1e-6 * (1 + 0.1 * u));
      }
    }
  }
}

TEST("activation: NaN comes through, infinities saturate") {
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const Tensor x = to_tensor(context, {NAN, INFINITY}, {2});
    for (Activation kind : kActivations) {
      const Tensor y = activation_forward(context, x, kind);
      EXPECT(std::isnan(y.host()[0]));
      if (kind != Activation::gelu) EXPECT(y.host()[1] == INFINITY);
    }
  }
}

TEST("geglu: forward and backward equal the definition") {
  const index_t rows = 5;
  for (index_t channels : {1, 3, 16, 37}) {
    const auto x = random_values(static_cast<std::size_t>(rows * 2 * channels), 1, 2);
    const auto dy = random_values(static_cast<std::size_t>(rows * channels), 2);
    const auto forward = [&](const std::vector<double>& in) {
      std::vector<double> y;
      for (index_t r = 0; r < rows; ++r)
        for (index_t c = 0; c < channels; ++c) {
          const auto i = static_cast<std::size_t>(r * 2 * channels + c);
          y.push_back(in[i] * reference(Activation::gelu, in[i + static_cast<std::size_t>(channels)]));
        }
      return y;
    };
    const auto dx = finite_differences(x, [&](const std::vector<double>& in) {
      double sum = 0;
      const auto y = forward(in);
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
      return sum;
    });
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(2, isa);
      Tape tape(context, nullptr);
      const Var input(to_tensor(context, x, {1, rows, 2 * channels}), true);
      const Var y = geglu(tape, input);
      EXPECT(y.shape() == Shape({1, rows, channels}));
      EXPECT_CLOSE(isa, y.value(), forward(x), 10 * kRounding);
      Tape::accumulate(context, y.gradient(), to_tensor(context, dy, y.shape()));
      tape.backward();
      EXPECT_CLOSE(isa, input.gradient()->tensor, dx, 20 * kRounding);
    }
  }
}

TEST("elementwise: the same bits for any number of threads") {
  const Shape shape{2, 77, 79, 32};
  const auto values = random_values(static_cast<std::size_t>(shape.size()), 1, 3);
  for (const char* isa : instruction_sets()) {
    const Context one = make_context(1, isa), three = make_context(3, isa);
    const Tensor x = to_tensor(one, values, shape);
    for (Activation kind : kActivations) {
      EXPECT(same_bits(activation_forward(one, x, kind), activation_forward(three, x, kind)));
      EXPECT(same_bits(activation_backward(one, x, x, kind), activation_backward(three, x, x, kind)));
    }
    const Tensor y = geglu_forward(one, x);
    EXPECT(same_bits(y, geglu_forward(three, x)));
    EXPECT(same_bits(geglu_backward(one, y, x), geglu_backward(three, y, x)));
    EXPECT(same_bits(add_forward(one, x, x), add_forward(three, x, x)));
    EXPECT(same_bits(upsample_nearest_forward(one, x, 154, 158), upsample_nearest_forward(three, x, 154, 158)));
  }
}

TEST("add: sums, and the gradient reaches both sides") {
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const auto a = random_values(37, 1), b = random_values(37, 2), dy = random_values(37, 3);
    Tape tape(context, nullptr);
    const Var va(to_tensor(context, a, {1, 37}), true), vb(to_tensor(context, b, {37}), true);
    const Var y = add(tape, va, vb), again = add(tape, y, va);
    Tape::accumulate(context, again.gradient(), to_tensor(context, dy, {1, 37}));
    tape.backward();
    for (std::size_t i = 0; i < 37; ++i) {
      EXPECT(y.value().host()[i] == static_cast<float>(a[i]) + static_cast<float>(b[i]));
      EXPECT(va.gradient()->tensor.host()[i] == static_cast<float>(2 * dy[i]));
      EXPECT(vb.gradient()->tensor.host()[i] == static_cast<float>(dy[i]));
    }
    EXPECT_ERROR("CONES_INTERNAL", add_forward(context, va.value(), context.zeros({36})));
  }
}

TEST("choose_rows: every row comes from where it should, and the gradients of rows from one source add up") {
  const Context context = make_context(2);
  constexpr std::size_t kRow = 5 * 7;
  const auto x = random_values(3 * kRow, 1), rest = random_values(4 * kRow, 2), dy = random_values(4 * kRow, 3);
  for (const std::vector<int>& source : {std::vector<int>{2, 0, 2, 2}, {0, -1, 1, -1}}) {
    const bool with_rest = source[1] < 0;
    Tape tape(context, nullptr);
    const Var vx(to_tensor(context, x, {3, 5, 7}), true);
    const Var y = choose_rows(tape, vx, source, with_rest ? to_tensor(context, rest, {4, 5, 7}) : Tensor());
    EXPECT(y.shape() == Shape({4, 5, 7}));
    Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {20, 7}));
    tape.backward();
    std::vector<float> dx(3 * kRow, 0.0f);
    for (std::size_t b = 0; b < 4; ++b)
      for (std::size_t i = 0; i < kRow; ++i) {
        const int s = source[b];
        const double want = s < 0 ? rest[b * kRow + i] : x[static_cast<std::size_t>(s) * kRow + i];
        EXPECT(y.value().host()[b * kRow + i] == static_cast<float>(want));
        if (s >= 0) dx[static_cast<std::size_t>(s) * kRow + i] += static_cast<float>(dy[b * kRow + i]);
      }
    EXPECT(vx.gradient()->tensor.shape() == Shape({3, 5, 7}));
    EXPECT(std::memcmp(vx.gradient()->tensor.host(), dx.data(), dx.size() * sizeof(float)) == 0);
  }
}

TEST("concat_channels: every value lands in its place, and its gradient comes back") {
  const Context context = make_context();
  const auto a = random_values(2 * 3 * 2 * 5, 1), b = random_values(2 * 3 * 2 * 4, 2);
  const auto dy = random_values(2 * 3 * 2 * 9, 3);
  for (bool want_a : {true, false}) {
    Tape tape(context, nullptr);
    const Var va(to_tensor(context, a, {2, 3, 2, 5}), want_a), vb(to_tensor(context, b, {2, 3, 2, 4}), true);
    const Var y = concat_channels(tape, va, vb);
    EXPECT(y.shape() == Shape({2, 3, 2, 9}));
    Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {12, 9}));
    tape.backward();
    for (std::size_t row = 0; row < 12; ++row)
      for (std::size_t c = 0; c < 9; ++c) {
        const double want = c < 5 ? a[row * 5 + c] : b[row * 4 + c - 5];
        EXPECT(y.value().host()[row * 9 + c] == static_cast<float>(want));
        if (c >= 5) EXPECT(vb.gradient()->tensor.host()[row * 4 + c - 5] == static_cast<float>(dy[row * 9 + c]));
        if (c < 5 && want_a) EXPECT(va.gradient()->tensor.host()[row * 5 + c] == static_cast<float>(dy[row * 9 + c]));
      }
  }
}

TEST("upsample_nearest: reads the pixel that PyTorch reads, and gradients add up there") {
  struct Size { index_t h, w, out_h, out_w; };
  for (const Size& s : {Size{3, 5, 6, 10}, Size{3, 5, 7, 9}, Size{1, 1, 3, 2}, Size{4, 4, 4, 4}, Size{6, 5, 3, 2}}) {
    const index_t batch = 2, channels = 3;
    const auto x = random_values(static_cast<std::size_t>(batch * s.h * s.w * channels), 1);
    const auto dy = random_values(static_cast<std::size_t>(batch * s.out_h * s.out_w * channels), 2);
    std::vector<double> want, dx(x.size());
    for (index_t b = 0; b < batch; ++b)
      for (index_t i = 0; i < s.out_h; ++i)
        for (index_t j = 0; j < s.out_w; ++j)
          for (index_t c = 0; c < channels; ++c) {
            const index_t source = ((b * s.h + i * s.h / s.out_h) * s.w + j * s.w / s.out_w) * channels + c;
            dx[static_cast<std::size_t>(source)] += dy[want.size()];
            want.push_back(x[static_cast<std::size_t>(source)]);
          }
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(2, isa);
      Tape tape(context, nullptr);
      const Var input(to_tensor(context, x, {batch, s.h, s.w, channels}), true);
      const Var y = upsample_nearest(tape, input, s.out_h, s.out_w);
      EXPECT_CLOSE(isa, y.value(), want, 0);
      Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {batch, s.out_h * s.out_w, channels}));
      tape.backward();
      EXPECT_CLOSE(isa, input.gradient()->tensor, dx, 4 * kRounding);
    }
  }
}
