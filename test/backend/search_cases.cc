// The search's update of its state, whose gradient is an outer product that nobody stores.
//
// With one row of x and dy the product is exact (two 16-bit numbers in fp32), and the update is fp32 in the CPU's order of operations,
// none contracted: all bits, for every kind of update. With more rows the sum's order is free: plain gradient descent is then linear
// in it, score + θ Σ dy x and displacement + rate θ Σ dy x, with 4·√terms·2⁻²⁴·Σ of the magnitudes.
#include <array>
#include <cmath>
#include <limits>

#include "case_table.h"

namespace cones::test {
namespace {

struct Update {
  index_t m, n, k;
  bool adam = false, algorithm1 = false, clamp = false, allowed = false;
  int finite = -1;  // 1 or 0 of a loss; −1: nobody asks
};

void search_update_outer(Run& run, const Update& c) {
  const Shape shape{c.n, c.k};
  const Parameter& weight = run.weight(shape);
  const Input wide{.scale = 0.1, .dtype = DType::f32};
  SearchState state;
  state.weights = run.backend().prepare_linear(run.context(), weight, nullptr);
  state.theta = run.backend().search_theta(run.context(), weight, state.weights);
  // ξ near both of its ends, so that clamping matters.
  std::vector<float> displacement(at(c.n * c.k)), squares(displacement.size());
  for (std::size_t i = 0; i < displacement.size(); ++i) {
    displacement[i] = i % 3 == 0 ? 1e-4f : i % 3 == 1 ? 0.99f : static_cast<float>(i % 11) / 11;
    squares[i] = static_cast<float>(i % 7) * 1e-3f;
  }
  state.displacement = run.given(displacement, shape, wide);
  state.score = run.input(shape, wide);
  if (c.adam) {
    state.first_moment = run.input(shape, wide);
    state.second_moment = run.given(squares, shape, wide);
  }
  if (c.allowed) {
    std::vector<std::uint32_t> some;
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(c.n * c.k); i += 1 + i % 4) some.push_back(i);
    state.allowed = run.backend().prepare_allowed(run.context(), c.n, c.k, some);
  }
  Tensor finite;
  if (c.finite >= 0) {
    const double weights[] = {1};
    const Tensor target = run.given({0.5f, -1}, {1, 2}, wide);
    const Tensor output = run.given({c.finite == 1 ? 1.0f : std::numeric_limits<float>::quiet_NaN(), 1}, {1, 2}, wide);
    finite = run.backend().mse_loss(run.context(), output, target, weights, false).finite;
  }
  const Tensor x = run.input({c.m, c.k}), dy = run.input({c.m, c.n}, {.scale = 0.1, .gradient = true});
  const SearchUpdate step{.adam = c.adam, .algorithm1 = c.algorithm1, .clamp = c.clamp, .rate = 0.37f, .rest1 = 0.1f, .beta2 = 0.999f,
                          .rest2 = 0.001f, .correction2 = 1.7f, .epsilon = 1e-8f};
  run.op([&] { run.backend().search_update_outer(run.context(), x, dy, state, step, finite); });
  const bool exact = c.m == 1 || c.finite == 0;
  const Check check{.terms = exact ? 0 : static_cast<double>(c.m) + 2, .exact = exact};
  run.check("displacement", state.displacement, check);
  run.check("score", state.score, check);
  if (!c.adam) return;
  run.check("first moment", state.first_moment, check);
  run.check("second moment", state.second_moment, check);
}

/// Several tensors with negative values, zeros and equal ones; `sign` −1: none is positive.
void highest(Run& run, const std::vector<index_t>& lengths, std::int64_t count, float sign, bool seconds, float per_step) {
  std::vector<RankedWeights> tensors;
  std::size_t i = 0;
  index_t first = 5;
  for (const index_t length : lengths) {
    std::vector<float> values(at(length)), scores(at(length));
    for (std::size_t n = 0; n < values.size(); ++n) {
      ++i;
      const double v = std::sin(static_cast<double>(i) * 12.9898) * std::pow(10.0, static_cast<double>(i % 9) - 6);
      values[n] = i % 10 == 0 ? 0 : i % 6 == 0 ? 0.125f : static_cast<float>(v);
      if (sign < 0) values[n] = -std::abs(values[n]);
      scores[n] = static_cast<float>(i % 5) - 2;
    }
    const Input wide{.dtype = DType::f32};
    tensors.push_back({run.given(values, {length}, wide), seconds ? run.given(scores, {length}, wide) : Tensor(), first});
    first += length;
  }
  const auto check = [&](const char* what, const Tensor& guess) {
    Tensor found;
    run.op([&] { found = run.backend().highest(run.context(), tensors, per_step, count, guess); });
    run.check(what, found, {.exact = true});
    return found;
  };
  check("with a guess", check("highest", {}));
}

}  // namespace

void search_cases(Table& table) {
  std::vector<Update> updates;
  for (const auto& [n, k] : {std::pair<index_t, index_t>{1, 1}, {5, 7}, {33, 40}, {70, 65}})
    for (const bool adam : {false, true})
      for (const bool algorithm1 : {false, true}) {
        updates.push_back({1, n, k, adam, algorithm1, true});
        updates.push_back({1, n, k, adam, algorithm1, false, true, n == 33 ? 1 : -1});
      }
  for (const bool adam : {false, true}) updates.push_back({9, 33, 40, adam, false, true, false, 0});
  for (const auto& [m, n, k] : std::initializer_list<std::array<index_t, 3>>{{5, 3, 7}, {77, 33, 40}, {64, 64, 64}, {700, 9, 24}}) {
    updates.push_back({m, n, k});
    updates.push_back({m, n, k, false, false, false, true, 1});
  }
  for (const Update& c : updates)
    table.add("search_update_outer " + sizes({c.m, c.n, c.k}) + (c.adam ? " Adam" : " SGD") + (c.algorithm1 ? " algorithm 1" : "") +
                  (c.clamp ? " clamped" : "") + (c.allowed ? " some" : "") +
                  (c.finite == 0 ? " not finite" : c.finite == 1 ? " finite" : ""),
              [c](Run& run) { search_update_outer(run, c); });

  const std::pair<std::vector<index_t>, std::int64_t> counts[] = {
      {{1}, 1}, {{1000}, 1}, {{1000}, 100}, {{7, 1000, 333, 2049}, 500}, {{7, 1000, 333, 2049}, 5}, {{100, 100}, 1 << 20}, {{3000}, 700}};
  for (const auto& [lengths, count] : counts)
    for (const auto& [seconds, per_step] : {std::pair{false, 0.0f}, {true, 0.0f}, {true, 40.0f}})
      table.add("highest " + std::to_string(count) + " of " + std::to_string(lengths.size()) + " tensors of " + std::to_string(lengths.back()) +
                    (seconds ? " with seconds" : "") + (per_step > 0 ? " in steps" : ""),
                [lengths = lengths, count = count, seconds = seconds, per_step = per_step](Run& run) { highest(run, lengths, count, 1, seconds, per_step); });
  table.add("highest of none", [](Run& run) { highest(run, {100, 50}, 3, -1, true, 0); });
}

}  // namespace cones::test
