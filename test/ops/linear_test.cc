#include "ops/linear.h"

#include "cpu/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

using Values = std::vector<double>;

std::size_t count(index_t a, index_t b) { return static_cast<std::size_t>(a * b); }

// A parameter with values of its own, in fp32 or bf16 (values that bf16 holds exactly).
struct Stored {
  std::vector<std::byte> bytes;
  Parameter parameter;

  Stored(const char* name, const Values& values, const Shape& shape, DType dtype = DType::f32) {
    bytes.resize(values.size() * dtype_size(dtype));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float value = static_cast<float>(values[i]);
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      const auto upper = static_cast<std::uint16_t>(bits >> 16);
      if (dtype == DType::f32) std::memcpy(&bytes[4 * i], &value, 4);
      if (dtype == DType::bf16) std::memcpy(&bytes[2 * i], &upper, 2);
    }
    parameter = {name, shape, dtype, read_memory(bytes.data())};
  }
};

Values rounded_to_bf16(Values values) {
  for (double& value : values) {
    int exponent;
    const double mantissa = std::frexp(value, &exponent);
    value = std::ldexp(std::nearbyint(mantissa * 256), exponent - 8);
  }
  return values;
}

// y [M, N] = x Wᵀ + b + residual
Values reference_forward(const Values& x, const Values& w, const Values& bias, const Values& residual, index_t m,
                         index_t k, index_t n) {
  Values y(count(m, n));
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      double value = bias[count(j, 1)] + residual[count(i, n) + count(j, 1)];
      for (index_t l = 0; l < k; ++l) value += x[count(i, k) + count(l, 1)] * w[count(j, k) + count(l, 1)];
      y[count(i, n) + count(j, 1)] = value;
    }
  return y;
}

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Chains of up to 64 terms of size about 1, each rounded by 2⁻²⁴ at most twice, against values of at least 1.
constexpr double kTolerance = 128 * 0x1p-24;

struct Collected : ParameterGradients {
  std::vector<std::pair<std::string, Tensor>> gradients;
  bool wants(const Parameter&) const override { return true; }
  void add(const Context&, const Parameter& parameter, const Tensor& gradient) override {
    gradients.emplace_back(parameter.name, gradient);
  }
  const Tensor& operator[](const std::string& name) const {
    for (const auto& [key, gradient] : gradients)
      if (key == name) return gradient;
    fail("CONES_INTERNAL", "no gradient for " + name);
  }
};

}  // namespace

TEST("linear and its gradients equal the layer in double") {
  for (const char* isa : instruction_sets())
    for (DType dtype : {DType::f32, DType::bf16}) {
      const Context context = make_context(2, isa);
      const index_t b = 2, t = 5, k = 31, n = 37, m = b * t;
      Values x = random_values(count(m, k), 1), w = rounded_to_bf16(random_values(count(n, k), 2));
      const Values bias = random_values(count(n, 1), 3), residual = random_values(count(m, n), 4),
                   dy = random_values(count(m, n), 5);
      const Stored weight("w", w, {n, k}, dtype), bias_stored("b", bias, {n});
      const LinearWeights layer(context, &weight.parameter, &bias_stored.parameter);

      Collected collected;
      Tape tape(context, &collected);
      const Var vx(to_tensor(context, x, {b, t, k}), true), vr(to_tensor(context, residual, {b, t, n}), true);
      const Var y = linear(tape, vx, layer, &vr);
      EXPECT(y.shape() == Shape({b, t, n}));
      EXPECT_CLOSE("y", y.value(), reference_forward(x, w, bias, residual, m, k, n), kTolerance);
      Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {b, t, n}));
      tape.backward();

      // The layer is linear in each of its inputs, so differences are exact for any step.
      const auto loss_x = [&](const Values& v) { return dot(dy, reference_forward(v, w, bias, residual, m, k, n)); };
      const auto loss_w = [&](const Values& v) { return dot(dy, reference_forward(x, v, bias, residual, m, k, n)); };
      const auto loss_b = [&](const Values& v) { return dot(dy, reference_forward(x, w, v, residual, m, k, n)); };
      EXPECT_CLOSE("dx", vx.gradient()->tensor, finite_differences(x, loss_x, 1.0), kTolerance);
      EXPECT_CLOSE("dw", collected["w"], finite_differences(w, loss_w, 1.0), kTolerance);
      EXPECT_CLOSE("db", collected["b"], finite_differences(bias, loss_b, 1.0), kTolerance);
      EXPECT_CLOSE("dresidual", vr.gradient()->tensor, dy, 0);
      EXPECT(collected["w"].shape() == weight.parameter.shape);
      EXPECT(vx.gradient()->tensor.shape() == vx.shape());
    }
}

TEST("a 1x1 convolution's weight is a linear layer; no bias is zero bias") {
  const Context context = make_context();
  const index_t m = 3, k = 33, n = 5;
  const Values x = random_values(count(m, k), 1), w = random_values(count(n, k), 2);
  const Stored weight("w", w, {n, k, 1, 1});
  const LinearWeights layer(context, &weight.parameter, nullptr);
  EXPECT(layer.in() == k && layer.out() == n);
  EXPECT_CLOSE("y", linear_forward(context, to_tensor(context, x, {m, k}), layer),
               reference_forward(x, w, Values(count(n, 1), 0.0), Values(count(m, n), 0.0), m, k, n), kTolerance);
}

TEST("frozen layers record nothing; an unwanted weight gradient is not computed") {
  const Context context = make_context();
  const Stored weight("w", random_values(12, 1), {3, 4});
  const LinearWeights layer(context, &weight.parameter, nullptr);
  Tape tape(context, nullptr);
  const Tensor x = to_tensor(context, random_values(8, 2), {2, 4});
  EXPECT(!linear(tape, Var(x), layer).requires_grad());
  EXPECT(linear(tape, Var(x, true), layer).requires_grad());
  Tape inference(context);
  EXPECT(!linear(inference, Var(x, true), layer).requires_grad());
}

TEST("backward weights are packed once, also when threads ask at the same time, and counted by plans") {
  const Context context = make_context();
  const Stored weight("w", random_values(64 * 64, 1), {64, 64});
  const LinearWeights layer(context, &weight.parameter, nullptr);
  const LazyPackedMatrix& backward = CpuLinear::of(layer.prepared()).backward;
  const Context planning = context.plan();
  backward.get(planning);
  backward.get(planning);
  const std::size_t planned = planning.memory->in_use(), before = context.memory->in_use();
  std::vector<const float*> panels(4);
  {
    std::vector<std::jthread> threads;
    for (auto& panel : panels)
      threads.emplace_back([&] {
        Context own = make_context();
        own.memory = context.memory;
        panel = backward.get(own).panel(0);
      });
  }
  for (const float* panel : panels) EXPECT(panel == panels[0] && panel != nullptr);
  EXPECT(planned > 0 && context.memory->in_use() - before == planned);
}

TEST("backward weights that are dropped stay with who uses them, and are packed again as they were") {
  const Context context = make_context();
  const Stored weight("w", random_values(64 * 48, 1), {64, 48});
  {
    const LinearWeights layer(context, &weight.parameter, nullptr);
    const LazyPackedMatrix& backward = CpuLinear::of(layer.prepared()).backward;
    const std::size_t loaded = context.memory->in_use();
    EXPECT(context.memory->remakable() == 0);
    PackedMatrix used = backward.get(context);
    const std::vector<float> first(used.panel(0), used.panel(0) + used.bytes() / sizeof(float));
    const auto is_first = [&](const PackedMatrix& packed) { return std::equal(first.begin(), first.end(), packed.panel(0)); };
    const std::size_t packed = context.memory->in_use() - loaded;
    EXPECT(packed > 0 && context.memory->remakable() == packed);

    context.memory->drop_remakable();
    EXPECT(context.memory->remakable() == 0 && context.memory->in_use() == loaded + packed);
    EXPECT(is_first(used));
    used = PackedMatrix();
    EXPECT(context.memory->in_use() == loaded);

    EXPECT(is_first(backward.get(context)));
    EXPECT(context.memory->remakable() == packed);
  }
  EXPECT(context.memory->remakable() == 0);  // it went with its layer
}
