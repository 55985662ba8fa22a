// Activations and GEGLU against their definitions in fp64, in the emulator.
#include "activation.h"

#include "activation.cu"
#include "geglu.cu"
#include "product_check.h"

namespace {

using namespace cones::cuda;
using check::Guarded;

const Activation kAll[] = {Activation::silu, Activation::gelu, Activation::quick_gelu, Activation::gelu_tanh, Activation::relu};

constexpr double kLeast = 1e-28;  // what fp32 cannot hold, e⁻⁸⁸, times what the tolerance makes of it

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double value(Activation a, double x) {
  switch (a) {
    case Activation::silu: return x * sigmoid(x);
    case Activation::gelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::quick_gelu: return x * sigmoid(1.702 * x);
    case Activation::relu: return std::max(x, 0.0);
    default: return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
}
double derivative(Activation a, double x) {
  const double s = sigmoid(a == Activation::silu ? x : 1.702 * x);
  switch (a) {
    case Activation::silu: return s + x * s * (1 - s);
    case Activation::gelu: return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    case Activation::quick_gelu: return s + 1.702 * x * s * (1 - s);
    case Activation::relu: return x > 0 ? 1 : 0;
    default: {
      const double k = std::sqrt(2 / M_PI), t = std::tanh(k * (x + 0.044715 * x * x * x));
      return (1 + t) / 2 + x / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x);
    }
  }
}

/// Normal values, and the first ones far out.
template <class T>
std::vector<T> inputs(std::size_t n) {
  std::vector<T> x = check::normals<T>(n, 3);
  const float far[] = {0.0f, -0.0f, 20, -20, 100, -100, 60000, -60000, -9, 9, 1e-7f, -1e-7f};
  for (std::size_t i = 0; i < std::min(n, std::size(far)); ++i) x[i] = dev::from_float<T>(far[i]);
  return x;
}

template <class T>
void activation(std::size_t n, std::size_t off) {
  Guarded<T> x(inputs<T>(n), off), dy(check::normals<T>(n), off);
  for (const Activation a : kAll)
    check::each_order([&] {
      Guarded<T> y(n, off), dx(n, off), in_place(std::vector<T>(dy.data(), dy.data() + n), off);
      const auto count = static_cast<std::int64_t>(n);
      check::expect(activation_forward(nullptr, {check::type_of<T>, a, count, x.data(), y.data()}) == 0, "rc");
      check::expect(activation_backward(nullptr, {check::type_of<T>, a, count, dy.data(), x.data(), dx.data()}) == 0, "rc");
      activation_backward(nullptr, {check::type_of<T>, a, count, in_place.data(), x.data(), in_place.data()});
      check::expect(y.intact() && dx.intact() && in_place.intact(), "wrote outside");
      for (std::size_t i = 0; i < n; ++i) {
        const std::string at = std::to_string(static_cast<int>(a)) + " of " + std::to_string(dev::to_float(x[i]));
        // Both terms of the derivative may cancel.
        const double v = dev::to_float(x[i]), f = value(a, v), d = derivative(a, v), g = dev::to_float(dy[i]);
        const bool tanh_tail = a == Activation::gelu_tanh && v < 0;  // the reference itself cancels there
        check::expect_close(y[i], {f, std::fabs(f) + (tanh_tail ? 1e-7 : kLeast)}, 16, "y " + at);
        check::expect_close(dx[i], {d * g, (std::fabs(d) + (std::fabs(v) < 10 ? 0.5 : kLeast)) * std::fabs(g)}, 16, "dx " + at);
        check::expect(dev::to_float(in_place[i]) == dev::to_float(dx[i]), "in place " + at);
      }
    });
}

template <class T>
void geglu(std::size_t rows, std::size_t channels, std::size_t off) {
  const std::size_t n = rows * channels;
  Guarded<T> x(inputs<T>(2 * n), off), dy(check::normals<T>(n), off);
  const auto r = static_cast<std::int64_t>(rows), c = static_cast<std::int64_t>(channels);
  check::each_order([&] {
    Guarded<T> y(n, off), dx(2 * n, off), in_place(std::vector<T>(x.data(), x.data() + 2 * n), off);
    check::expect(geglu_forward(nullptr, {check::type_of<T>, r, c, x.data(), y.data()}) == 0, "rc");
    check::expect(geglu_backward(nullptr, {check::type_of<T>, r, c, dy.data(), x.data(), dx.data()}) == 0, "rc");
    geglu_backward(nullptr, {check::type_of<T>, r, c, dy.data(), in_place.data(), in_place.data()});
    check::expect(y.intact() && dx.intact() && in_place.intact(), "wrote outside");
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = i / channels * 2 * channels + i % channels;
      const double v = dev::to_float(x[at]), gate = dev::to_float(x[at + channels]), g = dev::to_float(dy[i]);
      const double f = value(Activation::gelu, gate), d = derivative(Activation::gelu, gate);
      const auto close = [&](T got, double want, double extra, const char* what) {
        if (std::fabs(want) < 60000 || !check::is_half<T>)
          check::expect_close(got, {want, std::fabs(want) + extra + kLeast}, 16, what + std::to_string(i));
      };
      close(y[i], v * f, 0, "y ");
      close(dx[at], g * f, 0, "dvalue ");
      close(dx[at + channels], g * v * d, std::fabs(g * v) * (std::fabs(gate) < 10 ? 0.5 : 0), "dgate ");
    }
    for (std::size_t i = 0; i < 2 * n; ++i) check::expect(dev::to_float(in_place[i]) == dev::to_float(dx[i]), "in place");
  });
}

void not_finite() {
  check::now = "not finite";
  const float nan = NAN;
  for (const Activation a : kAll)
    for (const float v : {nan, 1e30f, -1e30f, 3e38f, -3e38f}) {
      Guarded<dev::bf16> x(std::vector<dev::bf16>(3, dev::from_float<dev::bf16>(v))), y(3), dx(3);
      Guarded<dev::bf16> dy(std::vector<dev::bf16>(3, dev::from_float<dev::bf16>(1)));
      activation_forward(nullptr, {Type::bf16, a, 3, x.data(), y.data()});
      activation_backward(nullptr, {Type::bf16, a, 3, dy.data(), x.data(), dx.data()});
      const float got = dev::to_float(y[1]), slope = dev::to_float(dx[1]), far = dev::to_float(x[1]);
      check::expect(v != v ? got != got && slope != slope : got == (v > 0 ? far : 0), std::to_string(v) + " gives " + std::to_string(got));
      if (v == v) check::expect(std::fabs(slope - (v > 0)) < 1e-6, std::to_string(v) + " has slope " + std::to_string(slope));
    }
}

}  // namespace

int main() {
  for (const std::size_t n : {1, 7, 8, 2056, 5003}) {
    check::now = "activation " + std::to_string(n);
    activation<dev::half>(n, 0);
    activation<dev::bf16>(n, n == 2056);
  }
  for (const std::size_t rows : {1, 3, 67})
    for (const std::size_t channels : {1, 8, 13, 40}) {
      check::now = "geglu " + std::to_string(rows) + " x " + std::to_string(channels);
      geglu<dev::half>(rows, channels, channels == 8);
      geglu<dev::bf16>(rows, channels, 0);
    }
  check::now = "invalid";
  check::expect(activation_forward(nullptr, {Type::f32, Activation::silu, 1, nullptr, nullptr}) == kInvalid, "fp32");
  check::expect(geglu_forward(nullptr, {Type::f16, 0, 8, nullptr, nullptr}) == kInvalid, "no rows");
  not_finite();
  return check::done();
}
