// The count-th highest value, against sorting.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include "device/backend.h"
#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

/// What Backend::highest is to return: the positive values, sorted, and of too few the last.
float by_sorting(const std::vector<Tensor>& tensors, std::int64_t count) {
  std::vector<float> positive;
  for (const Tensor& tensor : tensors)
    std::copy_if(tensor.host(), tensor.host() + tensor.size(), std::back_inserter(positive), [](float v) { return v > 0; });
  std::ranges::sort(positive, std::greater<>());
  if (positive.empty()) return INFINITY;
  return positive[std::min(static_cast<std::size_t>(count), positive.size()) - 1];
}

float highest(const Context& context, const std::vector<Tensor>& tensors, std::int64_t count, float guess = 0) {
  const Tensor last = guess > 0 ? to_tensor(context, {guess}, {1}) : Tensor();
  return *context.backend->highest(context, tensors, count, last).host();
}

}  // namespace

TEST("highest: the value of that rank among positive ones, however many threads count") {
  for (int threads : {1, 2, 5}) {
    const Context context = make_context(threads);
    std::vector<Tensor> tensors;
    for (unsigned t = 0; t < 7; ++t) {
      const index_t size = 1 + 613 * static_cast<index_t>(t);
      // From 1e-9 to 10, half of them negative.
      tensors.push_back(to_tensor(context, random_values(size, t + 1, std::pow(10.0, static_cast<double>(t) * 1.6 - 9)), {size}));
    }
    std::fill_n(tensors[5].host(), 400, 0.25f);  // equal ones
    std::fill_n(tensors[4].host(), 400, 0.0f);
    for (std::int64_t count : {1, 2, 17, 500, 1500, 3000, 5000, 100'000})
      for (float guess : {0.0f, 1e-8f, 0.25f, 3.0f, 1e9f})
        EXPECT(highest(context, tensors, count, guess) == by_sorting(tensors, count));
  }
}

TEST("highest: infinite where nothing is positive") {
  const Context context = make_context(2);
  const Tensor none = to_tensor(context, {0, -1, -0.0, -1e-30}, {4});
  EXPECT(highest(context, std::vector<Tensor>{none}, 3) == INFINITY);
  EXPECT(highest(context, std::vector<Tensor>{}, 1) == INFINITY);
}
