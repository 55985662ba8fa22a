// Layer norm against its definition in fp64, in the emulator.
#include "layer_norm.h"

#include <cstring>

#include "layer_norm.cu"
#include "norm_weight_sums.cu"
#include "product_check.h"

namespace {

using namespace cones::cuda;
using check::Guarded;

struct Case {
  std::int64_t rows, channels;
  bool in_place;
  std::size_t off;  // elements by which pointers miss an alignment to 16 bytes
  float offset;     // common to all x
};
std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

template <class T>
struct Data {
  std::size_t rows, channels, count;
  Guarded<T> x, dy;
  Guarded<float> weight, bias;
  std::vector<double> mean, rstd;

  explicit Data(const Case& c)
      : rows(size(c.rows)), channels(size(c.channels)), count(rows * channels), x(count, c.off),
        dy(check::normals<T>(count), c.off), weight(check::normals<float>(channels), c.off),
        bias(check::normals<float>(channels), c.off) {
    const std::vector<float> values = check::normals<float>(count);
    for (std::size_t i = 0; i < count; ++i) x[i] = dev::from_float<T>(values[i] + c.offset);
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0, squares = 0, n = static_cast<double>(channels);
      for (std::size_t k = 0; k < channels; ++k) sum += at(r, k);
      for (std::size_t k = 0; k < channels; ++k) squares += (at(r, k) - sum / n) * (at(r, k) - sum / n);
      mean.push_back(sum / n);
      rstd.push_back(1 / std::sqrt(squares / n + 1e-5));
    }
  }
  double at(std::size_t r, std::size_t k) { return dev::to_float(x[r * channels + k]); }
};

template <class T>
void forward(const Case& c) {
  Data<T> d(c);
  for (const bool statistics : {true, false})
    check::each_order([&] {
      Guarded<T> y(d.count, c.off);
      Guarded<float> stats(d.rows * 2);
      if (c.in_place) std::copy_n(d.x.data(), d.count, y.data());
      const int rc = layer_norm_forward(nullptr, {check::type_of<T>, c.rows, c.channels, 1e-5f, c.in_place ? y.data() : d.x.data(),
                                                  d.weight.data(), d.bias.data(), y.data(), statistics ? stats.data() : nullptr});
      check::expect(rc == 0, "rc");
      check::expect(y.intact() && stats.intact(), "wrote outside");
      for (std::size_t r = 0; r < d.rows; ++r) {
        if (statistics) {
          check::expect(std::fabs(stats[2 * r] - d.mean[r]) <= 4e-7 * (std::fabs(d.mean[r]) + 1 / d.rstd[r]), "mean");
          check::expect(std::fabs(stats[2 * r + 1] - d.rstd[r]) <= 1e-6 * d.rstd[r] * (1 + std::fabs(c.offset)), "rstd");
        }
        for (std::size_t k = 0; k < d.channels; ++k) {
          const double factor = d.rstd[r] * d.weight[k];
          const check::Sum want{(d.at(r, k) - d.mean[r]) * factor + d.bias[k],
                                (std::fabs(d.at(r, k)) + std::fabs(d.mean[r])) * std::fabs(factor) + std::fabs(d.bias[k])};
          check::expect_close(y[r * d.channels + k], want, 16, "y[" + std::to_string(r) + ", " + std::to_string(k) + "]");
        }
      }
    });
}

template <class T>
void backward(const Case& c) {
  Data<T> d(c);
  const double scale = 0x1p-3;
  std::vector<check::Sum> dx(d.count), dweight(d.channels), dbias(d.channels);
  std::vector<float> stats;
  for (std::size_t r = 0; r < d.rows; ++r) {
    stats.push_back(static_cast<float>(d.mean[r]));
    stats.push_back(static_cast<float>(d.rstd[r]));
    check::Sum sum, dot;
    const auto hat = [&](std::size_t k) { return (d.at(r, k) - d.mean[r]) * d.rstd[r]; };
    const auto g = [&](std::size_t k) { return dev::to_float(d.dy[r * d.channels + k]) * static_cast<double>(d.weight[k]); };
    for (std::size_t k = 0; k < d.channels; ++k) {
      const double dy = dev::to_float(d.dy[r * d.channels + k]);
      sum.add(g(k) / static_cast<double>(d.channels));
      dot.add(g(k) / static_cast<double>(d.channels), hat(k));
      dbias[k].add(dy, scale);
      dweight[k].add(dy * hat(k), scale);
      dweight[k].magnitude += std::fabs(dy * d.mean[r] * d.rstd[r] * scale);
    }
    for (std::size_t k = 0; k < d.channels; ++k)
      dx[r * d.channels + k] = {d.rstd[r] * (g(k) - sum.value - hat(k) * dot.value),
                                d.rstd[r] * (std::fabs(g(k)) + sum.magnitude + std::fabs(hat(k)) * dot.magnitude) *
                                    (1 + std::fabs(d.mean[r] * d.rstd[r]))};
  }
  Guarded<float> statistics(stats);
  for (const int wanted : {7, 1, 2, 4})
    check::each_order([&] {
      const bool in_place = c.in_place && wanted == 1;
      Guarded<T> got(d.count, c.off);
      Guarded<float> weight(d.channels), bias(d.channels), scratch(layer_norm_backward_scratch(c.rows, c.channels) / sizeof(float));
      if (in_place) std::copy_n(d.dy.data(), d.count, got.data());
      const int rc = layer_norm_backward(
          nullptr, {check::type_of<T>, c.rows, c.channels, static_cast<float>(scale), in_place ? got.data() : d.dy.data(),
                    d.x.data(), d.weight.data(), statistics.data(), wanted & 1 ? got.data() : nullptr,
                    wanted & 2 ? weight.data() : nullptr, wanted & 4 ? bias.data() : nullptr,
                    wanted & 6 ? scratch.data() : nullptr});
      check::expect(rc == 0, "rc");
      check::expect(got.intact() && weight.intact() && bias.intact() && scratch.intact(), "wrote outside");
      for (std::size_t i = 0; wanted & 1 && i < d.count; ++i) check::expect_close(got[i], dx[i], 64, "dx[" + std::to_string(i) + "]");
      const double terms = static_cast<double>(d.rows);
      for (std::size_t i = 0; i < d.channels; ++i) {
        if (wanted & 2) check::expect_close(weight[i], dweight[i], 16 + terms, "dweight[" + std::to_string(i) + "]");
        if (wanted & 4) check::expect_close(bias[i], dbias[i], 16 + terms, "dbias[" + std::to_string(i) + "]");
      }
    });
}

/// A row whose squares, or the values themselves, pass the largest fp32 is not finite; its neighbours are.
void overflow() {
  check::now = "overflow";
  for (const float huge : {1e25f, 3e38f, INFINITY}) {
    Guarded<dev::bf16> x(check::normals<dev::bf16>(5 * 64)), y(5 * 64);
    Guarded<float> weight(std::vector<float>(64, 1)), bias(std::vector<float>(64, 1));
    x[2 * 64 + 3] = dev::from_float<dev::bf16>(huge);
    x[2 * 64 + 40] = dev::from_float<dev::bf16>(-huge);
    layer_norm_forward(nullptr, {Type::bf16, 5, 64, 1e-5f, x.data(), weight.data(), bias.data(), y.data(), nullptr});
    for (std::size_t i = 0; i < y.size(); ++i)
      check::expect(std::isfinite(dev::to_float(y[i])) == (i / 64 != 2), "y[" + std::to_string(i) + "]");
  }
}

}  // namespace

int main() {
  const Case cases[] = {
      {1, 8, false, 0, 0},   {5, 320, true, 0, 0},   {3, 7, false, 0, 0},   {70, 257, false, 0, 2},
      {9, 768, false, 0, 100}, {70, 40, true, 1, 0}, {35000, 8, false, 0, 0},
  };
  for (const Case& c : cases) {
    check::now = std::to_string(c.rows) + " x " + std::to_string(c.channels);
    backward<dev::bf16>(c);
    if (c.rows > 10000) continue;
    forward<dev::half>(c);
    forward<dev::bf16>(c);
    backward<dev::half>(c);
  }
  overflow();
  return check::done();
}
