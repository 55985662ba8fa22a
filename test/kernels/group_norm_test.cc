// Group norm against its definition in fp64, in the emulator.
#include "group_norm.h"

#include <cstring>

#include "group_norm.cu"
#include "group_norm_backward.cu"
#include "norm_weight_sums.cu"
#include "product_check.h"

namespace {

using namespace cones::cuda;
using check::Guarded;

struct Case {
  std::int64_t batch, rows, channels, groups;
  bool silu, in_place;
  std::size_t off;      // elements by which pointers miss an alignment to 16 bytes
  float offset;         // common to all x
};
std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

template <class T>
struct Data {
  Case c;
  std::size_t count;
  Guarded<T> x, dy;
  Guarded<float> weight, bias;
  std::vector<double> mean, rstd;  // [batch, groups]

  explicit Data(const Case& c_in)
      : c(c_in), count(size(c.batch * c.rows * c.channels)), x(values(count, c.offset), c.off), dy(values(count, 0), c.off),
        weight(check::normals<float>(size(c.channels)), c.off), bias(check::normals<float>(size(c.channels)), c.off) {
    const std::int64_t group_size = c.channels / c.groups;
    for (std::int64_t b = 0; b < c.batch; ++b)
      for (std::int64_t g = 0; g < c.groups; ++g) {
        double sum = 0, squares = 0, values = static_cast<double>(c.rows * group_size);
        each(b, g, [&](std::size_t i, std::int64_t) { sum += at(i); });
        each(b, g, [&](std::size_t i, std::int64_t) { squares += (at(i) - sum / values) * (at(i) - sum / values); });
        mean.push_back(sum / values);
        rstd.push_back(1 / std::sqrt(squares / values + 1e-5));
      }
  }
  static std::vector<T> values(std::size_t n, float offset) {
    std::vector<T> v = check::normals<T>(n);
    for (T& value : v) value = dev::from_float<T>(dev::to_float(value) + offset);
    return v;
  }
  double at(std::size_t i) { return dev::to_float(x[i]); }
  /// f(index, channel) for the values of a group.
  template <class F>
  void each(std::int64_t b, std::int64_t g, const F& f) {
    const std::int64_t group_size = c.channels / c.groups;
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t ch = g * group_size; ch < (g + 1) * group_size; ++ch) f(size((b * c.rows + r) * c.channels + ch), ch);
  }
  Guarded<float> statistics() const {
    std::vector<float> s;
    for (std::size_t i = 0; i < mean.size(); ++i) s.push_back(static_cast<float>(mean[i])), s.push_back(static_cast<float>(rstd[i]));
    return Guarded<float>(s);
  }
  Guarded<float> scratch() const {
    return Guarded<float>(group_norm_scratch(c.batch, c.rows, c.channels, c.groups) / sizeof(float));
  }
};

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

template <class T>
void forward(const Case& c) {
  Data<T> d(c);
  std::vector<check::Sum> want(d.count);
  for (std::int64_t b = 0; b < c.batch; ++b)
    for (std::int64_t g = 0; g < c.groups; ++g)
      d.each(b, g, [&](std::size_t i, std::int64_t ch) {
        const double mean = d.mean[size(b * c.groups + g)], factor = d.rstd[size(b * c.groups + g)] * d.weight[size(ch)];
        const double z = (d.at(i) - mean) * factor + d.bias[size(ch)];
        want[i].value = c.silu ? z * sigmoid(z) : z;
        want[i].magnitude = (std::fabs(d.at(i)) + std::fabs(mean)) * std::fabs(factor) + std::fabs(d.bias[size(ch)]);
      });
  for (const bool statistics : {true, false})
    check::each_order([&] {
      Guarded<T> y(d.count, c.off);
      Guarded<float> stats(size(c.batch * c.groups * 2)), scratch = d.scratch();
      if (c.in_place) std::copy_n(d.x.data(), d.count, y.data());
      const int rc = group_norm_forward(nullptr, {check::type_of<T>, c.batch, c.rows, c.channels, c.groups, 1e-5f, c.silu,
                                                  c.in_place ? y.data() : d.x.data(), d.weight.data(), d.bias.data(), y.data(),
                                                  statistics ? stats.data() : nullptr, scratch.data()});
      check::expect(rc == 0, "rc");
      check::expect(y.intact() && stats.intact() && scratch.intact(), "wrote outside");
      for (std::size_t i = 0; i < d.count; ++i) check::expect_close(y[i], want[i], 16, "y[" + std::to_string(i) + "]");
      for (std::size_t i = 0; statistics && i < d.mean.size(); ++i) {
        check::expect(std::fabs(stats[2 * i] - d.mean[i]) <= 4e-7 * (std::fabs(d.mean[i]) + 1 / d.rstd[i]), "mean");
        check::expect(std::fabs(stats[2 * i + 1] - d.rstd[i]) <= 4e-7 * d.rstd[i] * (1 + std::fabs(c.offset)), "rstd");
      }
      if (!statistics || c.batch == 1) return;
      // The last sample alone has the same bits.
      const std::size_t one = d.count / size(c.batch), last = d.count - one;
      Guarded<T> alone(std::vector<T>(d.x.data() + last, d.x.data() + d.count), c.off), y_alone(one, c.off);
      group_norm_forward(nullptr, {check::type_of<T>, 1, c.rows, c.channels, c.groups, 1e-5f, c.silu, alone.data(),
                                   d.weight.data(), d.bias.data(), y_alone.data(), nullptr, scratch.data()});
      check::expect(std::memcmp(y_alone.data(), y.data() + last, one * sizeof(T)) == 0, "depends on its neighbours");
    });
}

template <class T>
void backward(const Case& c) {
  Data<T> d(c);
  const double scale = 0x1p-3;
  std::vector<check::Sum> dx(d.count), dweight(size(c.channels)), dbias(size(c.channels));
  for (std::int64_t b = 0; b < c.batch; ++b)
    for (std::int64_t g = 0; g < c.groups; ++g) {
      const double mean = d.mean[size(b * c.groups + g)], r = d.rstd[size(b * c.groups + g)];
      const double values = static_cast<double>(c.rows * (c.channels / c.groups));
      /// f(index, channel, dz, x̂)
      const auto each = [&](const auto& f) {
        d.each(b, g, [&](std::size_t i, std::int64_t ch) {
          const double hat = (d.at(i) - mean) * r, z = hat * d.weight[size(ch)] + d.bias[size(ch)], s = sigmoid(z);
          const double slope = c.silu ? s + z * s * (1 - s) : 1;
          f(i, size(ch), dev::to_float(d.dy[i]) * slope, hat);
        });
      };
      check::Sum sum, dot;
      each([&](std::size_t, std::size_t ch, double dz, double hat) {
        sum.add(dz * d.weight[ch] / values);
        dot.add(dz * d.weight[ch] / values, hat);
        dbias[ch].add(dz, scale);
        dweight[ch].add(dz * hat, scale);
        dweight[ch].magnitude += std::fabs(dz * mean * r * scale);
      });
      each([&](std::size_t i, std::size_t ch, double dz, double hat) {
        dx[i].value = r * (dz * d.weight[ch] - sum.value - hat * dot.value);
        dx[i].magnitude = r * (std::fabs(dz * d.weight[ch]) + sum.magnitude + std::fabs(hat) * dot.magnitude) * (1 + std::fabs(mean * r));
      });
    }
  const double terms = static_cast<double>(c.batch * c.rows);
  for (const int wanted : {7, 1, 2, 4})
    check::each_order([&] {
      Guarded<T> got(d.count, c.off);
      Guarded<float> weight(size(c.channels)), bias(size(c.channels)), scratch = d.scratch(), stats = d.statistics();
      if (c.in_place) std::copy_n(d.dy.data(), d.count, got.data());
      const int rc = group_norm_backward(
          nullptr, {check::type_of<T>, c.batch, c.rows, c.channels, c.groups, c.silu, static_cast<float>(scale),
                    c.in_place ? got.data() : d.dy.data(), d.x.data(), d.weight.data(), d.bias.data(), stats.data(),
                    wanted & 1 ? got.data() : nullptr, wanted & 2 ? weight.data() : nullptr, wanted & 4 ? bias.data() : nullptr,
                    scratch.data()});
      check::expect(rc == 0, "rc");
      check::expect(got.intact() && weight.intact() && bias.intact() && scratch.intact() && stats.intact(), "wrote outside");
      for (std::size_t i = 0; wanted & 1 && i < d.count; ++i) check::expect_close(got[i], dx[i], 64, "dx[" + std::to_string(i) + "]");
      for (std::size_t i = 0; i < size(c.channels); ++i) {
        if (wanted & 2) check::expect_close(weight[i], dweight[i], 16 + terms, "dweight[" + std::to_string(i) + "]");
        if (wanted & 4) check::expect_close(bias[i], dbias[i], 16 + terms, "dbias[" + std::to_string(i) + "]");
      }
    });
}

/// One group's squares, or the values themselves, pass the largest fp32: its outputs are not finite, its neighbours' are.
void overflow() {
  check::now = "overflow";
  for (const float huge : {1e25f, 3e38f, INFINITY}) {
    Guarded<dev::bf16> x(check::normals<dev::bf16>(200 * 16)), y(200 * 16);
    Guarded<float> weight(std::vector<float>(16, 1)), bias(std::vector<float>(16, 1)), scratch(group_norm_scratch(1, 200, 16, 2) / 4);
    x[150 * 16 + 3] = dev::from_float<dev::bf16>(huge);
    x[10 * 16 + 5] = dev::from_float<dev::bf16>(-huge);
    group_norm_forward(nullptr, {Type::bf16, 1, 200, 16, 2, 1e-5f, 0, x.data(), weight.data(), bias.data(), y.data(), nullptr,
                                 scratch.data()});
    for (std::size_t i = 0; i < y.size(); ++i)
      check::expect(std::isfinite(dev::to_float(y[i])) == (i % 16 >= 8), "y[" + std::to_string(i) + "]");
  }
  // A constant, however large, has no variance.
  Guarded<dev::bf16> x(std::vector<dev::bf16>(100 * 8, dev::from_float<dev::bf16>(1e30f))), y(100 * 8);
  Guarded<float> weight(std::vector<float>(8, 1)), bias(std::vector<float>(8, 2)), scratch(group_norm_scratch(1, 100, 8, 1) / 4);
  group_norm_forward(nullptr, {Type::bf16, 1, 100, 8, 1, 1e-5f, 0, x.data(), weight.data(), bias.data(), y.data(), nullptr,
                               scratch.data()});
  for (std::size_t i = 0; i < y.size(); ++i) check::expect(dev::to_float(y[i]) == 2, "constant");
}

}  // namespace

int main() {
  const Case cases[] = {
      {2, 65, 24, 4, true, false, 0, 0},  {1, 1, 8, 1, false, false, 0, 0},    {3, 7, 12, 3, true, true, 0, 3},
      {1, 130, 320, 32, true, true, 0, 0}, {2, 33, 264, 33, false, false, 0, 1}, {1, 40000, 8, 2, true, false, 0, 0},
      {2, 70, 24, 3, false, true, 1, 0},  {1, 300, 16, 2, false, false, 0, 200},
  };
  for (const Case& c : cases) {
    check::now = std::to_string(c.batch) + " x " + std::to_string(c.rows) + " x " + std::to_string(c.channels);
    forward<dev::half>(c);
    backward<dev::bf16>(c);
    if (c.rows > 10000) continue;
    forward<dev::bf16>(c);
    backward<dev::half>(c);
  }
  overflow();
  return check::done();
}
