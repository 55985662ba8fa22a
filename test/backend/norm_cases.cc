// Normalisation. With n values in a group, m = max |x| of the tensor and w, b the weights, forward's
//   y = (x − mean) r w + b
// is off by 4·√n·2⁻²⁴·(2 m r |w| + |b|): the mean is a sum of n terms, and so is the variance, whose relative error r has by half;
// SiLU behind it multiplies by no more than 1.1 and adds 2⁻²⁰ of its result for the exponential.
// Statistics (fp32): the mean by 4·√n·2⁻²⁴·m, r by r · 4·√n·2⁻²⁴·(1 + (m r)²) at most.
//
// Backward, z = x̂ w + b, dz = dy·silu'(z), x̂ = (x − mean) r, statistics given:
//   dx = r (w dz − mean(w dz) − x̂ mean(w dz x̂))    off by 4·√n·2⁻²⁴·r·(|w dz| + mean|w dz| + X mean(|w dz| X)),
//   dw = Σ dz x̂, db = Σ dz                         off by 4·√rows·2⁻²⁴·Σ|dz| X and Σ|dz|,
// with X = (|x| + |mean|)·r, as x − mean cancels, and |dz| ≤ 1.1 |dy|, whose silu' is off by 2⁻²⁰ (1 + |z|).
#include <algorithm>
#include <cmath>

#include "case_table.h"

namespace cones::test {
namespace {

using Values = std::vector<double>;

struct Norm {
  index_t batch, rows, channels;
  int groups;  // 0: a layer norm
  bool silu = false;
  double mean = 0;  // of x: the larger, the more a variance made of squares would lose
  index_t groups_of_rows() const { return groups == 0 ? batch * rows : batch * groups; }
  /// The group of element i, and how many values a group has.
  std::size_t group(std::size_t i) const {
    const auto c = at(channels), row = i / c;
    return groups == 0 ? row : row / at(rows) * at(groups) + i % c / (c / at(groups));
  }
  double size() const { return static_cast<double>(groups == 0 ? channels : rows * channels / groups); }
  GroupNormOptions options() const { return {groups, 1e-5f, silu}; }
};

struct Operands {
  Tensor x, weight, bias;
  Operands(Run& run, const Norm& c)
      : x(run.input({c.batch, c.rows, c.channels}, {.mean = c.mean, .rows = true})),
        weight(run.input({c.channels}, {.dtype = DType::f32})),
        bias(run.input({c.channels}, {.dtype = DType::f32})) {}
};

Tensor normalise(Run& run, const Norm& c, const Operands& in, Tensor* statistics) {
  if (c.groups == 0) return run.backend().layer_norm_forward(run.context(), in.x, in.weight, in.bias, 1e-5f, statistics);
  return run.backend().group_norm_forward(run.context(), in.x, in.weight, in.bias, c.options(), statistics);
}

double largest(const Values& values) {
  return std::abs(std::ranges::max(values, {}, [](double v) { return std::abs(v); }));
}

void forward(Run& run, const Norm& c) {
  const Operands in(run, c);
  Tensor y, statistics, unasked;
  run.op([&] { y = normalise(run, c, in, &statistics); });
  run.op([&] { unasked = normalise(run, c, in, nullptr); });
  const double sums = 4 * std::sqrt(c.size()) * 0x1p-24;
  const auto bound = [&] {
    const Values stats = run.values(statistics), w = run.values(in.weight), b = run.values(in.bias);
    const double top = largest(run.values(in.x));
    Values most = run.values(y);
    for (std::size_t i = 0; i < most.size(); ++i) {
      const double r = stats[2 * c.group(i) + 1], of_z = sums * (2 * top * r * std::abs(w[i % w.size()]) + std::abs(b[i % b.size()]));
      most[i] = c.silu ? 1.1 * of_z + 0x1p-20 * std::abs(most[i]) : of_z;
    }
    return most;
  };
  run.check("y", y, {.rows = true, .more = bound});
  run.check("y without statistics", unasked, {.rows = true, .more = bound});
  run.check("statistics", statistics, {.rows = true, .more = [&] {
                                         Values stats = run.values(statistics);
                                         const double top = largest(run.values(in.x));
                                         for (std::size_t i = 0; i < stats.size(); i += 2) {
                                           const double r = stats[i + 1];
                                           stats[i] = sums * top;
                                           stats[i + 1] = sums * r * (1 + top * r * top * r);
                                         }
                                         return stats;
                                       }});
}

struct Bounds {
  Values dx, dweight, dbias;
};

Bounds backward_bounds(Run& run, const Norm& c, const Operands& in, const Tensor& dy_in, const Values& stats) {
  const Values x = run.values(in.x), w = run.values(in.weight), b = run.values(in.bias), dy = run.values(dy_in);
  const std::size_t channels = w.size();
  const double sums = 4 * std::sqrt(c.size()) * 0x1p-24, rows = 4 * std::sqrt(static_cast<double>(c.batch * c.rows)) * 0x1p-24;
  Bounds most{Values(x.size()), Values(channels), Values(channels)};
  Values mean(stats.size() / 2), mean_dot(stats.size() / 2), of_silu(x.size());
  const auto hat = [&](std::size_t i) { return (std::abs(x[i]) + std::abs(stats[2 * c.group(i)])) * stats[2 * c.group(i) + 1]; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dz = 1.1 * std::abs(dy[i]), weighted = dz * std::abs(w[i % channels]);
    if (c.silu) of_silu[i] = 0x1p-20 * (1 + hat(i) * std::abs(w[i % channels]) + std::abs(b[i % channels]));
    mean[c.group(i)] += weighted / c.size();
    mean_dot[c.group(i)] += weighted * hat(i) / c.size();
    most.dweight[i % channels] += (rows + of_silu[i]) * dz * hat(i);
    most.dbias[i % channels] += (rows + of_silu[i]) * dz;
  }
  const double silu = c.silu ? largest(of_silu) : 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t g = c.group(i);
    most.dx[i] = (sums + silu) * stats[2 * g + 1] * (1.1 * std::abs(w[i % channels] * dy[i]) + mean[g] + hat(i) * mean_dot[g]);
  }
  return most;
}

void backward(Run& run, const Norm& c) {
  const Operands in(run, c);
  const Tensor dy = run.input({c.batch, c.rows, c.channels}, {.scale = 0.1, .rows = true, .gradient = true});
  // The same statistics for both sides, in fp64 from the values.
  const Values x = run.values(in.x);
  const std::size_t groups = at(c.groups == 0 ? in.x.rows() : in.x.dim(0) * c.groups);
  Values stats(2 * groups);
  for (std::size_t i = 0; i < x.size(); ++i) stats[2 * c.group(i)] += x[i] / c.size();
  for (std::size_t i = 0; i < x.size(); ++i) stats[2 * c.group(i) + 1] += std::pow(x[i] - stats[2 * c.group(i)], 2) / c.size();
  for (std::size_t g = 0; g < groups; ++g) stats[2 * g + 1] = 1 / std::sqrt(stats[2 * g + 1] + 1e-5);
  const Shape shape = c.groups == 0 ? Shape{in.x.rows(), 2} : Shape{in.x.dim(0), c.groups, 2};
  const Tensor statistics = run.given(std::vector<float>(stats.begin(), stats.end()), shape, {.dtype = DType::f32});

  Tensor dx, dweight, dbias;
  const auto call = [&](Tensor* to_x, Tensor* to_weight, Tensor* to_bias) {
    run.op([&] {
      if (c.groups == 0)
        return run.backend().layer_norm_backward(run.context(), dy, in.x, statistics, in.weight, to_x, to_weight, to_bias);
      run.backend().group_norm_backward(run.context(), dy, in.x, statistics, in.weight, in.bias, c.options(), to_x, to_weight, to_bias);
    });
    const auto bound = [&](Values Bounds::*which) {
      return [&, which] { return backward_bounds(run, c, in, dy, stats).*which; };
    };
    if (to_x) run.check("dx", dx, {.rows = true, .gradient = true, .more = bound(&Bounds::dx)});
    if (to_weight) run.check("dweight", dweight, {.more = bound(&Bounds::dweight)});
    if (to_bias) run.check("dbias", dbias, {.more = bound(&Bounds::dbias)});
  };
  call(&dx, &dweight, &dbias);
  call(&dx, nullptr, nullptr);
  call(nullptr, &dweight, nullptr);
  call(nullptr, nullptr, &dbias);
}

}  // namespace

void norm_cases(Table& table) {
  for (const Norm& c : std::initializer_list<Norm>{{1, 1, 2, 1},
                                                   {2, 7, 6, 3},
                                                   {3, 20, 40, 5, true},
                                                   {2, 64, 64, 32, true},
                                                   {2, 300, 33, 11},
                                                   {2, 9, 320, 32, true, 3},
                                                   {2, 1100, 8, 2, false, 20},
                                                   {1, 3, 7, 0},
                                                   {2, 5, 33, 0},
                                                   {3, 7, 40, 0},
                                                   {2, 3, 768, 0, false, 5},
                                                   {2, 70, 8, 0},
                                                   {1, 3, 1280, 0}}) {
    const std::string name = sizes({c.batch, c.rows, c.channels}) +
                             (c.groups > 0 ? ", " + std::to_string(c.groups) + " groups" : "") + (c.silu ? " +silu" : "");
    const std::string op = c.groups > 0 ? "group_norm" : "layer_norm";
    table.add(op + "_forward " + name, [c](Run& run) { forward(run, c); });
    table.add(op + "_backward " + name, [c](Run& run) { backward(run, c); });
  }
}

}  // namespace cones::test
