// The search's inner loops against their definition in doubles, and bit by bit alike on every instruction set.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "harness.h"
#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr index_t kCount = 45;  // whole vectors and a ragged end

struct State {
  Tensor theta, gradient, displacement, first, second, score;

  explicit State(const Context& context)
      : theta(random(context, 1, 1)), gradient(random(context, 2, 1)), displacement(random(context, 3, 0.01)),
        first(random(context, 4, 0.1)), second(random(context, 5, 0.1)), score(random(context, 6, 1)) {
    for (index_t i = 0; i < kCount; ++i) second.host()[i] = std::abs(second.host()[i]);
  }

  static Tensor random(const Context& context, unsigned seed, double scale) {
    return to_tensor(context, random_values(kCount, seed, scale), {kCount});
  }
};

}  // namespace

TEST("search kernels: one step of every algorithm and optimiser is what the paper and PyTorch's Adam say") {
  for (int variant = 0; variant < 8; ++variant) {
    const SearchUpdate step{.adam = (variant & 1) != 0, .algorithm1 = (variant & 2) != 0, .clamp = (variant & 4) != 0,
                            .rate = 0.01f, .rest1 = 0.1f, .beta2 = 0.999f, .rest2 = 0.001f, .correction2 = 3.0f,
                            .epsilon = 1e-8f};
    Tensor first_result;  // of the first instruction set
    for (const char* isa : instruction_sets()) {
      const Context context = make_context(1, isa);
      const State before(context), s(context);
      cpu_of(context).kernels().search->update(step, kCount, s.theta.host(), s.gradient.host(), s.displacement.host(),
                                      step.adam ? s.first.host() : nullptr, step.adam ? s.second.host() : nullptr,
                                      s.score.host());
      std::vector<double> displacement, score;
      for (index_t i = 0; i < kCount; ++i) {
        const auto at = [i](const Tensor& t) { return static_cast<double>(t.host()[i]); };
        const double xi = 1 - at(before.displacement);
        double g = at(before.theta) * at(before.gradient);
        if (step.algorithm1) g *= xi;
        score.push_back(at(before.score) + g);
        if (step.algorithm1) g *= xi;
        double move = 0.01 * g;
        if (step.adam) {
          const double m = 0.9 * at(before.first) + 0.1 * g, v = 0.999 * at(before.second) + 0.001 * g * g;
          move = 0.01 * m / (3 * std::sqrt(v) + 1e-8);
        }
        const double moved = at(before.displacement) + move;
        displacement.push_back(step.clamp ? std::min(1.0, std::max(0.0, moved)) : moved);
      }
      // A dozen roundings of 6e-8 each.
      EXPECT_CLOSE(isa, s.displacement, displacement, 1e-6);
      EXPECT_CLOSE(isa, s.score, score, 1e-6);
      if (!first_result.defined()) first_result = s.displacement;
      EXPECT(std::memcmp(first_result.host(), s.displacement.host(), kCount * sizeof(float)) == 0);
    }
  }
}

TEST("search kernels: gamma = xi * theta") {
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(1, isa);
    const State s(context);
    const Tensor gamma = context.empty({kCount});
    cpu_of(context).kernels().search->scale(kCount, s.theta.host(), s.displacement.host(), gamma.host());
    std::vector<double> want;
    for (index_t i = 0; i < kCount; ++i)
      want.push_back((1 - static_cast<double>(s.displacement.host()[i])) * static_cast<double>(s.theta.host()[i]));
    EXPECT_CLOSE(isa, gamma, want, 2e-7);  // two roundings
  }
}
