// The last weight that is chosen, against sorting, and what rounding may not decide.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#include "device/backend.h"
#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

/// Places of what Backend::highest is to choose: sorted by the rule's words, told once more in plain terms.
std::vector<index_t> by_sorting(const std::vector<RankedWeights>& tensors, double per_step, std::int64_t count) {
  std::vector<std::tuple<double, double, index_t>> all;  // the highest first
  for (const RankedWeights& weights : tensors)
    for (index_t i = 0; i < weights.values.size(); ++i) {
      const float value = weights.values.host()[i];
      if (!(value > 0)) continue;
      double steps = static_cast<double>(value);
      if (per_step > 0) steps = std::max(0.25, std::nearbyint(static_cast<double>(value * static_cast<float>(per_step))));
      all.emplace_back(-steps, weights.seconds.defined() ? -static_cast<double>(weights.seconds.host()[i]) : 0, weights.first + i);
    }
  std::ranges::sort(all);
  all.resize(std::min(all.size(), static_cast<std::size_t>(count)));
  std::vector<index_t> places;
  for (const auto& [value, second, place] : all) places.push_back(place);
  std::ranges::sort(places);
  return places;
}

RankKey highest(const Context& context, const std::vector<RankedWeights>& tensors, float per_step, std::int64_t count, const Tensor& guess) {
  RankKey key;
  std::memcpy(key.data(), context.backend->highest(context, tensors, per_step, count, guess).host(), sizeof key);
  return key;
}

std::vector<index_t> chosen(const std::vector<RankedWeights>& tensors, float per_step, const RankKey& last) {
  std::vector<index_t> places;
  for (const RankedWeights& weights : tensors)
    for (index_t i = 0; i < weights.values.size(); ++i)
      if (is_chosen(last, per_step, weights.values.host()[i], weights.seconds.defined() ? weights.seconds.host() + i : nullptr, weights.first + i))
        places.push_back(weights.first + i);
  return places;
}

}  // namespace

TEST("highest: exactly so many weights, whatever is equal, and however many threads count") {
  for (int threads : {1, 2, 5}) {
    const Context context = make_context(threads);
    std::vector<RankedWeights> tensors;
    index_t first = 0;
    for (unsigned t = 0; t < 7; ++t) {
      const index_t size = 1 + 613 * static_cast<index_t>(t);
      // From 1e-9 to 10, half of them negative.
      const Tensor values = to_tensor(context, random_values(size, t + 1, std::pow(10.0, static_cast<double>(t) * 1.6 - 9)), {size});
      tensors.push_back({values, to_tensor(context, random_values(size, t + 90), {size}), first});
      first += size;
    }
    std::fill_n(tensors[5].values.host(), 400, 0.25f);   // equal ones, by their score
    std::fill_n(tensors[6].values.host(), 1000, 0.25f);  // some of them, by their place
    std::fill_n(tensors[6].seconds.host(), 700, 0.125f);
    std::fill_n(tensors[4].values.host(), 400, 0.0f);
    for (const bool with_seconds : {true, false}) {
      for (RankedWeights& weights : tensors)
        if (!with_seconds) weights.seconds = Tensor();
      for (std::int64_t count : {1, 2, 17, 500, 1500, 2000, 2500, 3000, 5000, 100'000})
        for (float per_step : {0.0f, 8.0f, 1e6f}) {
          const std::vector<index_t> want = by_sorting(tensors, static_cast<double>(per_step), count);
          EXPECT(want.size() == static_cast<std::size_t>(count) || count > 4000);
          Tensor guess;
          for (float likely : {0.0f, 1e-8f, 0.25f, 3.0f, 1e9f}) {
            if (likely > 0) guess = to_tensor(context, {likely, 0, 0}, {3});
            EXPECT(chosen(tensors, per_step, highest(context, tensors, per_step, count, guess)) == want);
          }
        }
    }
  }
}

TEST("highest: none where nothing is positive") {
  const Context context = make_context(2);
  const std::vector<RankedWeights> none{{to_tensor(context, {0, -1, -0.0, -1e-30}, {4}), Tensor(), 0}};
  EXPECT(highest(context, none, 0, 3, {}) == kNoneChosen);
  EXPECT(chosen(none, 0, kNoneChosen).empty());
  EXPECT(highest(context, {}, 0, 1, {}) == kNoneChosen);
}

TEST("highest: Adam's first steps, which are the learning rate but for rounding, go by the score") {
  const Context context = make_context(1);
  for (const float rate : {6e-5f, 1e-4f, 0.4f, 3e-7f, 7.3e-3f})
    for (int steps = 1; steps <= 3; ++steps) {
      const Tensor exact = context.empty({64}), rounded = context.empty({64}), scores = context.empty({64});
      for (index_t i = 0; i < 64; ++i) {
        exact.host()[i] = static_cast<float>(steps) * rate;
        // Off by up to eight units in the last place, as instruction sets differ.
        rounded.host()[i] = exact.host()[i] * (1 + static_cast<float>(i * 29 % 17 - 8) * 0x1p-23f);
        scores.host()[i] = static_cast<float>(i * 37 % 64);
      }
      const float per_step = 1024 / rate;
      const std::vector<RankedWeights> one{{exact, scores, 0}}, other{{rounded, scores, 0}};
      std::vector<index_t> want;
      for (index_t i = 0; i < 64; ++i)
        if (i * 37 % 64 >= 54) want.push_back(i);
      EXPECT(chosen(one, per_step, highest(context, one, per_step, 10, {})) == want);
      EXPECT(chosen(other, per_step, highest(context, other, per_step, 10, {})) == want);
      EXPECT(chosen(other, 0, highest(context, other, 0, 10, {})) != want);
    }
}

TEST("in_steps: to the nearest, and what is positive stays so") {
  EXPECT(in_steps(2.4f, 1) == 2 && in_steps(2.6f, 1) == 3 && in_steps(0.3f, 1) == 0.25f && in_steps(1e-30f, 1) == 0.25f);
  EXPECT(in_steps(0, 8) == 0 && in_steps(-3, 8) == -3 && in_steps(0.1f, 0) == 0.1f);
  EXPECT(in_steps(12345677, 1) == 12345677);  // beyond what the rounding trick can do
}
