// Group norm (with and without SiLU) and layer norm.
#include <cmath>
#include <cstring>
#include <map>

#include "harness.h"
#include "ops/group_norm.h"
#include "ops/layer_norm.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr double kRounding = 6e-8;  // of fp32

/// Weight and bias as fp32 parameters.
struct Weights {
  std::vector<double> weight, bias;
  std::vector<float> weight32, bias32;
  Parameter weight_parameter, bias_parameter;

  explicit Weights(index_t channels)
      : weight(random_values(static_cast<std::size_t>(channels), 11)),
        bias(random_values(static_cast<std::size_t>(channels), 12)),
        weight32(weight.begin(), weight.end()), bias32(bias.begin(), bias.end()),
        weight_parameter{"weight", {channels}, DType::f32, read_memory(weight32.data())},
        bias_parameter{"bias", {channels}, DType::f32, read_memory(bias32.data())} {}
  Weights(const Weights&) = delete;
  NormWeights load(const Context& context) const { return NormWeights(context, &weight_parameter, &bias_parameter); }
};

/// Normalises x [outer, rows, channels] over rows and groups of channels; layer norm is rows = groups = 1.
std::vector<double> reference(const std::vector<double>& x, index_t rows, index_t channels, index_t groups, double eps,
                              bool silu, const std::vector<double>& weight, const std::vector<double>& bias) {
  std::vector<double> y(x.size());
  const index_t outer = static_cast<index_t>(x.size()) / (rows * channels), size = channels / groups;
  for (index_t b = 0; b < outer; ++b)
    for (index_t g = 0; g < groups; ++g) {
      const auto each = [&](auto f) {
        for (index_t r = 0; r < rows; ++r)
          for (index_t c = g * size; c < (g + 1) * size; ++c)
            f(static_cast<std::size_t>((b * rows + r) * channels + c), static_cast<std::size_t>(c));
      };
      double mean = 0, variance = 0;
      const double count = static_cast<double>(rows * size);
      each([&](std::size_t i, std::size_t) { mean += x[i] / count; });
      each([&](std::size_t i, std::size_t) { variance += (x[i] - mean) * (x[i] - mean) / count; });
      each([&](std::size_t i, std::size_t c) {
        const double z = (x[i] - mean) / std::sqrt(variance + eps) * weight[c] + bias[c];
        y[i] = silu ? z / (1 + std::exp(-z)) : z;
      });
    }
  return y;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Keeps what it is given, by name.
struct Stored : ParameterGradients {
  std::map<std::string, Tensor> gradients;
  bool wants(const Parameter&) const override { return true; }
  void add(const Context&, const Parameter& parameter, const Tensor& gradient) override {
    gradients[parameter.name] = gradient;
  }
};

double largest(const std::vector<double>& values) {
  double most = 0;
  for (double v : values) most = std::max(most, std::abs(v));
  return most;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() && std::memcmp(a.host(), b.host(), static_cast<std::size_t>(a.size()) * 4) == 0;
}

struct Case {
  index_t batch, h, w, channels;
  int groups;
  std::size_t size() const { return static_cast<std::size_t>(batch * h * w * channels); }
  Shape shape() const { return {batch, h, w, channels}; }
};

}  // namespace

TEST("group_norm: forward equals the definition on every instruction set") {
  // Several blocks of rows, channels that fill no vector, one group, as many groups as channels.
  for (const Case& c : {Case{1, 1, 1, 4, 2}, Case{2, 5, 7, 24, 4}, Case{1, 40, 30, 320, 32}, Case{3, 8, 8, 77, 7},
                        Case{2, 33, 32, 64, 1}, Case{1, 3, 3, 19, 19}})
    for (bool silu : {false, true}) {
      const Weights weights(c.channels);
      auto x = random_values(c.size(), 1, 2);
      for (double& v : x) v = static_cast<float>(v + 0.5);
      const auto want = reference(x, c.h * c.w, c.channels, c.groups, 1e-5, silu, weights.weight, weights.bias);
      for (const char* isa : instruction_sets()) {
        const Context context = make_context(2, isa);
        const Tensor y = group_norm_forward(context, to_tensor(context, x, c.shape()), weights.load(context),
                                            {c.groups, 1e-5f, silu});
        // Statistics, subtraction, scale, shift and exponential each round once or twice.
        EXPECT_CLOSE(isa, y, want, 12 * kRounding);
      }
    }
}

TEST("group_norm: an offset far above the spread costs no more than its rounding") {
  const Case c{1, 32, 32, 20, 2};
  const Weights weights(c.channels);
  auto x = random_values(c.size(), 1);
  for (double& v : x) v = static_cast<float>(v + 1e4);
  x[0] = -1e4;  // an outlier in the place of a shift
  const auto want = reference(x, c.h * c.w, c.channels, c.groups, 1e-5, false, weights.weight, weights.bias);
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const Tensor y =
        group_norm_forward(context, to_tensor(context, x, c.shape()), weights.load(context), {c.groups, 1e-5f, false});
    // The fp32 mean of values near 1e4 is off by up to 1e4 ε, in units of the spread of its group (≥ 1), times weight.
    EXPECT_CLOSE(isa, y, want, 12 * kRounding + 1e4 * kRounding * largest(weights.weight) / largest(want));
  }
}

TEST("group_norm: a constant group gives exactly the bias") {
  const Case c{1, 20, 20, 32, 4};
  const Weights weights(c.channels);
  for (double value : {0.0, 0.1, -1e4, 1e30}) {
    const std::vector<double> x(c.size(), static_cast<float>(value));
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(1, isa);
      const Tensor y = group_norm_forward(context, to_tensor(context, x, c.shape()), weights.load(context),
                                          {c.groups, 1e-5f, false});
      bool equal = true;
      for (index_t i = 0; i < y.size(); ++i)
        equal = equal && y.host()[i] == weights.bias32[static_cast<std::size_t>(i % c.channels)];
      EXPECT(equal);
    }
  }
}

TEST("group_norm: backward equals finite differences") {
  for (const Case& c : {Case{2, 3, 2, 6, 2}, Case{1, 2, 2, 19, 1}, Case{1, 150, 2, 2, 1}, Case{2, 1, 2, 40, 8}})
    for (bool silu : {false, true}) {
      const Weights weights(c.channels);
      const auto x = random_values(c.size(), 1), dy = random_values(c.size(), 2);
      const auto loss = [&](const auto& in, const auto& weight, const auto& bias) {
        return dot(dy, reference(in, c.h * c.w, c.channels, c.groups, 1e-5, silu, weight, bias));
      };
      const auto dx = finite_differences(x, [&](const auto& v) { return loss(v, weights.weight, weights.bias); });
      const auto dw = finite_differences(weights.weight, [&](const auto& v) { return loss(x, v, weights.bias); });
      const auto db = finite_differences(weights.bias, [&](const auto& v) { return loss(x, weights.weight, v); });
      for (const char* isa : instruction_sets()) {
        const Context context = make_context(2, isa);
        Stored kept;
        Tape tape(context, &kept);
        const Var input(to_tensor(context, x, c.shape()), true);
        const Var y = group_norm(tape, input, weights.load(context), c.groups, 1e-5f, silu);
        Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {static_cast<index_t>(dy.size())}));
        tape.backward();
        // dx subtracts two means from a gradient that 1/σ, here up to about 3, has enlarged.
        EXPECT_CLOSE("dx", input.gradient()->tensor, dx, 40 * kRounding);
        EXPECT_CLOSE("dweight", kept.gradients.at("weight"), dw, 20 * kRounding);
        EXPECT_CLOSE("dbias", kept.gradients.at("bias"), db, 20 * kRounding);
      }
    }
}

TEST("group_norm: the same bits for any number of threads and any batch neighbours") {
  const Case c{3, 50, 41, 96, 32};
  const Weights weights(c.channels);
  const auto values = random_values(c.size(), 1);
  for (const char* isa : instruction_sets()) {
    const Context contexts[] = {make_context(1, isa), make_context(2, isa), make_context(5, isa)};
    const GroupNormOptions options{c.groups, 1e-6f, true};
    Tensor y[3], dx[3], dw[3], db[3];
    for (int i = 0; i < 3; ++i) {
      const Tensor x = to_tensor(contexts[i], values, c.shape());
      const NormWeights w = weights.load(contexts[i]);
      Tensor statistics;
      y[i] = group_norm_forward(contexts[i], x, w, options, &statistics);
      group_norm_backward(contexts[i], x, x, statistics, w, options, &dx[i], &dw[i], &db[i]);
      const Tensor alone = group_norm_forward(contexts[i], x.slice(1, 2), w, options);
      EXPECT(same_bits(alone, y[i].slice(1, 2)));
    }
    for (int i : {1, 2})
      EXPECT(same_bits(y[0], y[i]) && same_bits(dx[0], dx[i]) && same_bits(dw[0], dw[i]) && same_bits(db[0], db[i]));
  }
}

TEST("layer_norm: forward equals the definition, also far from zero") {
  for (index_t channels : {1, 2, 15, 64, 77, 320, 768})
    for (double offset : {0.0, 1e4}) {
      const Weights weights(channels);
      auto x = random_values(static_cast<std::size_t>(9 * channels), 1);
      for (double& v : x) v = static_cast<float>(v + offset);
      const auto want = reference(x, 1, channels, 1, 1e-5, false, weights.weight, weights.bias);
      // The fp32 mean is off by up to offset · ε, in units of the row's √(variance + eps), times weight.
      double steepest = 0;
      for (std::size_t r = 0; r < x.size(); r += static_cast<std::size_t>(channels)) {
        double mean = 0, variance = 0;
        for (std::size_t c = r; c < r + static_cast<std::size_t>(channels); ++c) mean += x[c] / static_cast<double>(channels);
        for (std::size_t c = r; c < r + static_cast<std::size_t>(channels); ++c)
          variance += (x[c] - mean) * (x[c] - mean) / static_cast<double>(channels);
        steepest = std::max(steepest, 1 / std::sqrt(variance + 1e-5));
      }
      const double from_mean = offset * kRounding * steepest * largest(weights.weight) / largest(want);
      for (const char* isa : instruction_sets()) {
        const Context context = make_context(2, isa);
        const Tensor y =
            layer_norm_forward(context, to_tensor(context, x, {3, 3, channels}), weights.load(context), 1e-5f);
        EXPECT_CLOSE(isa, y, want, 12 * kRounding + from_mean);
      }
    }
}

TEST("layer_norm: backward equals finite differences") {
  for (index_t channels : {3, 16, 37}) {
    const index_t rows = 130;  // more than one block of rows in the weight gradients
    const auto n = static_cast<std::size_t>(rows * channels);
    const Weights weights(channels);
    const auto x = random_values(n, 1), dy = random_values(n, 2);
    const auto loss = [&](const auto& in, const auto& weight, const auto& bias) {
      return dot(dy, reference(in, 1, channels, 1, 1e-2, false, weight, bias));
    };
    const auto dw = finite_differences(weights.weight, [&](const auto& v) { return loss(x, v, weights.bias); });
    const auto db = finite_differences(weights.bias, [&](const auto& v) { return loss(x, weights.weight, v); });
    // Rows are independent: the differences of each need only its own.
    std::vector<double> dx;
    for (std::size_t r = 0; r < n; r += static_cast<std::size_t>(channels)) {
      const auto part = [&](const auto& v) {
        return std::vector<double>(v.begin() + static_cast<std::ptrdiff_t>(r),
                                   v.begin() + static_cast<std::ptrdiff_t>(r) + channels);
      };
      const auto row_dy = part(dy);
      const auto row = finite_differences(part(x), [&](const auto& v) {
        return dot(row_dy, reference(v, 1, channels, 1, 1e-2, false, weights.weight, weights.bias));
      });
      dx.insert(dx.end(), row.begin(), row.end());
    }
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(2, isa);
      Stored kept;
      Tape tape(context, &kept);
      const Var input(to_tensor(context, x, {2, rows / 2, channels}), true);
      const Var y = layer_norm(tape, input, weights.load(context), 1e-2f);
      Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {rows, channels}));
      tape.backward();
      EXPECT_CLOSE("dx", input.gradient()->tensor, dx, 40 * kRounding);
      // Sums over 130 rows, in blocks.
      EXPECT_CLOSE("dweight", kept.gradients.at("weight"), dw, 40 * kRounding);
      EXPECT_CLOSE("dbias", kept.gradients.at("bias"), db, 40 * kRounding);
    }
  }
}

TEST("layer_norm: the same bits for any number of threads") {
  const index_t rows = 1000, channels = 200;
  const Weights weights(channels);
  const auto values = random_values(static_cast<std::size_t>(rows * channels), 1);
  for (const char* isa : instruction_sets()) {
    Tensor y[2], dx[2], dw[2], db[2];
    for (int i : {0, 1}) {
      const Context context = make_context(1 + 2 * i, isa);
      const Tensor x = to_tensor(context, values, {rows, channels});
      const NormWeights w = weights.load(context);
      Tensor statistics;
      y[i] = layer_norm_forward(context, x, w, 1e-5f, &statistics);
      layer_norm_backward(context, x, x, statistics, w, &dx[i], &dw[i], &db[i]);
    }
    EXPECT(same_bits(y[0], y[1]) && same_bits(dx[0], dx[1]) && same_bits(dw[0], dw[1]) && same_bits(db[0], db[1]));
  }
}

TEST("norms: weights that do not fit are refused") {
  const Context context = make_context();
  const Weights four(4), six(6);
  EXPECT_ERROR("CONES_TENSOR_SHAPE", NormWeights(context, &four.weight_parameter, &six.bias_parameter));
  EXPECT_ERROR("CONES_INTERNAL", layer_norm_forward(context, context.zeros({2, 6}), four.load(context), 1e-5f));
  EXPECT_ERROR("CONES_INTERNAL", group_norm_forward(context, context.zeros({1, 2, 6}), four.load(context), {2}));
  EXPECT_ERROR("CONES_INTERNAL", group_norm_forward(context, context.zeros({1, 2, 6}), six.load(context), {4}));
}

TEST("norms: what is not finite, or whose squares are not, comes out as NaN, as in PyTorch") {
  // torch.nn.functional.group_norm and layer_norm (2.13) give NaN for these, in both memory formats. 1/√∞ = 0 would give the bias.
  const index_t rows = 20, channels = 40;
  const Weights weights(channels);
  const auto size = static_cast<std::size_t>(rows * channels);
  std::vector<double> alternating(size);
  for (std::size_t i = 0; i < size; ++i) alternating[i] = i % 3 == 0 ? 2e38 : -2e38;
  const std::pair<const char*, std::vector<double>> inputs[] = {
      {"squares beyond fp32", random_values(size, 3, 1e30)},
      {"sums beyond fp32", alternating},
      {"infinite", std::vector<double>(size, INFINITY)},
      {"not a number", std::vector<double>(size, NAN)}};
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const NormWeights loaded = weights.load(context);
    for (const auto& [what, x] : inputs)
      for (const bool group : {true, false}) {
        Tape tape(context);
        const Var y = group ? group_norm(tape, Var(to_tensor(context, x, {1, rows, channels})), loaded, 5, 1e-5f, false)
                            : layer_norm(tape, Var(to_tensor(context, x, {1, rows, channels})), loaded, 1e-5f);
        int numbers = 0;
        for (const double value : to_vector(y.value())) numbers += !std::isnan(value);
        if (numbers > 0) report(__FILE__, __LINE__, std::string(isa) + ", " + what + (group ? ", group" : ", layer"));
      }
  }
}

TEST("norms: one value that is not finite spoils its group, or its row, and no other") {
  const index_t rows = 20, channels = 40, groups = 5;
  const Weights weights(channels);
  for (const char* isa : instruction_sets())
    for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)})
      for (const std::size_t where : {std::size_t{0}, std::size_t{40 * 7 + 13}, std::size_t{799}}) {
        const Context context = make_context(1, isa);
        const NormWeights loaded = weights.load(context);
        std::vector<double> x = random_values(800, 4);
        x[where] = bad;
        Tape tape(context);
        const Var vx(to_tensor(context, x, {1, rows, channels}));
        const std::vector<double> of_groups = to_vector(group_norm(tape, vx, loaded, groups, 1e-5f, false).value()),
                                  of_rows = to_vector(layer_norm(tape, vx, loaded, 1e-5f).value());
        for (std::size_t i = 0; i < 800; ++i) {
          EXPECT(std::isnan(of_groups[i]) == (i % 40 / 8 == where % 40 / 8));
          EXPECT(std::isnan(of_rows[i]) == (i / 40 == where / 40));
        }
      }
}
