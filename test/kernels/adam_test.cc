// adam against the formula of csrc/training/learned_identifier.cc: all bits, over several steps.
#include "adam.h"

#include "same_bits.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

enum class Flag { none, finite, not_finite };

template <class T>
void run(std::int64_t count, Flag flag, bool has_gradient) {
  check::now = "count " + std::to_string(count) + (has_gradient ? "" : ", no gradient") + ", flag " +
               std::to_string(static_cast<int>(flag));
  const auto n = static_cast<std::size_t>(count);
  const std::vector<float> start = check::normals<float>(n);
  std::vector<std::vector<T>> gradients;
  for (int step = 0; step < 3; ++step) gradients.push_back(check::normals<T>(n, 0.3f));
  const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, learning_rate = 5e-3, factor = 1.0 / 1024, kept = 1 - 5e-3 * 0.01;
  const auto rate = [&](int step) { return learning_rate / (1 - std::pow(beta1, step)); };
  const auto correction2 = [&](int step) { return 1 / std::sqrt(1 - std::pow(beta2, step)); };

  std::vector<float> values = start, first(n), second(n);
  for (int step = 1; step <= 3 && flag != Flag::not_finite; ++step)
    for (std::size_t i = 0; i < n; ++i) {
      const double g = has_gradient ? static_cast<double>(dev::to_float(gradients[static_cast<std::size_t>(step - 1)][i])) * factor : 0;
      first[i] = static_cast<float>(beta1 * static_cast<double>(first[i]) + (1 - beta1) * g);
      second[i] = static_cast<float>(beta2 * static_cast<double>(second[i]) + (1 - beta2) * g * g);
      const double move = rate(step) * static_cast<double>(first[i]) /
                          (std::sqrt(static_cast<double>(second[i])) * correction2(step) + epsilon);
      values[i] = static_cast<float>(static_cast<double>(values[i]) * kept - move);
    }

  check::each_order([&] {
    Guarded<float> v(start), m(std::vector<float>(n, 0.0f)), s(std::vector<float>(n, 0.0f));
    Guarded<int> finite(std::vector<int>{flag == Flag::not_finite ? 0 : 1});
    for (int step = 1; step <= 3; ++step) {
      Guarded<T> g(gradients[static_cast<std::size_t>(step - 1)]);
      check::expect(adam(nullptr, {count, v.data(), m.data(), s.data(), has_gradient ? g.data() : nullptr, check::any_type_of<T>,
                                   factor, flag == Flag::none ? nullptr : finite.data(), rate(step), beta1, beta2,
                                   correction2(step), epsilon, kept}) == 0,
                    "status");
    }
    check::expect_bits(v, values, "values");
    check::expect_bits(m, first, "first moment");
    check::expect_bits(s, second, "second moment");
  });
}

}  // namespace

int main() {
  for (const std::int64_t count : {1, 255, 257, 768})
    for (const Flag flag : {Flag::none, Flag::finite, Flag::not_finite})
      for (const bool has_gradient : {false, true}) {
        run<float>(count, flag, has_gradient);
        run<dev::half>(count, flag, has_gradient);
        run<dev::bf16>(count, flag, has_gradient);
      }
  check::expect(adam(nullptr, {}) == kInvalid, "nothing to do");
  return check::done();
}
