#include "harness.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones::test {
namespace {

struct Case {
  const char* name;
  void (*body)();
};

std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

int failures_of_running_test = 0;

}  // namespace

Registration::Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }

void report(const char* file, int line, const std::string& message) {
  ++failures_of_running_test;
  std::printf("    %s:%d: %s\n", file, line, message.c_str());
}

Context make_context(int threads, const char* isa) {
  Context context;
  context.memory = Memory::create(std::size_t{8} << 30);
  context.backend =
      std::make_shared<Cpu>(std::make_shared<ThreadPool>(threads), isa ? find_kernels(isa) : best_kernels());
  return context;
}

std::vector<const char*> instruction_sets() {
  std::vector<const char*> sets;
  for (const char* isa : {"scalar", "avx2", "avx512"})
    if (find_kernels(isa)) sets.push_back(isa);
  return sets;
}

std::vector<double> random_values(std::size_t count, unsigned seed, double scale) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0.0, scale);
  std::vector<double> values(count);
  // Rounded to fp32, so that the fp64 reference and the fp32 op see the same inputs.
  for (double& value : values) value = static_cast<float>(normal(generator));
  return values;
}

Tensor to_tensor(const Context& context, const std::vector<double>& values, const Shape& shape) {
  Tensor tensor = context.empty(shape);
  check(static_cast<std::size_t>(tensor.size()) == values.size(), "to_tensor: size");
  std::copy(values.begin(), values.end(), tensor.host());
  return tensor;
}

std::vector<double> to_vector(const Tensor& tensor) {
  return std::vector<double>(tensor.host(), tensor.host() + tensor.size());
}

double relative_error(const Tensor& got, const std::vector<double>& want) {
  if (static_cast<std::size_t>(got.size()) != want.size()) return INFINITY;
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(static_cast<double>(got.host()[i]) - want[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    scale = std::max(scale, std::abs(want[i]));
  }
  return worst == 0 ? 0 : worst / scale;
}

void expect_close(const char* file, int line, const std::string& what, const Tensor& got,
                  const std::vector<double>& want, double tolerance) {
  const double error = relative_error(got, want);
  if (!(error <= tolerance))
    report(file, line, what + ": relative error " + std::to_string(error * 1e6) + "e-6, tolerance " +
                           std::to_string(tolerance * 1e6) + "e-6");
}

std::vector<double> finite_differences(std::vector<double> x,
                                       const std::function<double(const std::vector<double>&)>& loss, double step) {
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    x[i] = value + step;
    const double above = loss(x);
    x[i] = value - step;
    const double below = loss(x);
    x[i] = value;
    gradient[i] = (above - below) / (2 * step);
  }
  return gradient;
}

}  // namespace cones::test

int main() {
  int passed = 0, failed = 0;
  for (const auto& test : cones::test::cases()) {
    cones::test::failures_of_running_test = 0;
    try {
      test.body();
    } catch (const std::exception& e) {
      cones::test::report(test.name, 0, std::string("threw ") + e.what());
    }
    const bool ok = cones::test::failures_of_running_test == 0;
    (ok ? passed : failed)++;
    std::printf("%s %s\n", ok ? "ok  " : "FAIL", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
