#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/backend.h"

namespace cones {
namespace {

// Positive floats are ordered as their bits are: first by the 16 above the lowest 15 (the sign is 0), then by those 15.
constexpr int kLow = 15;
constexpr std::int32_t kBins = 1 << 16, kLowMask = (1 << kLow) - 1;

/// How many values there are in each bin, of those with bits in [from, to].
template <class F>
std::vector<std::int64_t> count_bins(const Context& context, std::span<const Tensor> tensors, std::int32_t from,
                                     std::int32_t to, const F& bin_of) {
  std::vector<std::vector<std::uint32_t>> lanes(static_cast<std::size_t>(cpu_of(context).threads()));
  cpu_of(context).run(static_cast<std::int64_t>(tensors.size()), [&](std::int64_t t, int lane) {
    std::vector<std::uint32_t>& bins = lanes[static_cast<std::size_t>(lane)];
    bins.resize(kBins);
    const Tensor& tensor = tensors[static_cast<std::size_t>(t)];
    const float* values = tensor.host();
    for (index_t i = 0; i < tensor.size(); ++i) {
      const auto bits = std::bit_cast<std::int32_t>(values[i]);  // below 0 for negative values
      if (bits >= from && bits <= to) ++bins[static_cast<std::size_t>(bin_of(bits))];
    }
  });
  std::vector<std::int64_t> sum(kBins);
  for (const auto& bins : lanes)
    for (std::size_t i = 0; i < bins.size(); ++i) sum[i] += bins[i];
  return sum;
}

/// The bin of the count-th value from above, of which `count` are left within it; with too few values the lowest bin that has any.
std::int32_t find_bin(const std::vector<std::int64_t>& bins, std::int64_t& count) {
  std::int32_t found = -1;
  for (std::int32_t bin = kBins - 1; bin >= 0; --bin) {
    const std::int64_t here = bins[static_cast<std::size_t>(bin)];
    if (here == 0) continue;
    found = bin;
    if (count <= here) return found;
    count -= here;
  }
  if (found >= 0) count = bins[static_cast<std::size_t>(found)];
  return found;
}

float highest_value(const Context& context, std::span<const Tensor> tensors, std::int64_t count, float guess) {
  const auto upper = [&](std::int32_t from) {
    return count_bins(context, tensors, from, INT32_MAX, [](std::int32_t bits) { return bits >> kLow; });
  };
  constexpr std::int32_t kLowest = 1;  // the least positive value
  const std::int32_t likely = std::max(kLowest, std::bit_cast<std::int32_t>(0.8f * guess));
  std::vector<std::int64_t> bins = upper(likely);
  if (likely > kLowest && std::reduce(bins.begin(), bins.end()) < count) bins = upper(kLowest);
  const std::int32_t high = find_bin(bins, count);
  if (high < 0) return 0;
  const std::int32_t first = std::max(kLowest, high << kLow);
  const auto lower = count_bins(context, tensors, first, first | kLowMask, [](std::int32_t bits) { return bits & kLowMask; });
  return std::bit_cast<float>((high << kLow) | find_bin(lower, count));
}

}  // namespace

Tensor Cpu::highest(const Context& context, std::span<const Tensor> tensors, std::int64_t count, const Tensor& guess) const {
  Tensor cut = context.empty({1});
  float likely = 0;
  run(1, [&](index_t, int) { likely = guess.defined() && std::isfinite(*guess.host()) ? *guess.host() : 0; });
  const float value = highest_value(context, tensors, count, likely);
  run(1, [&](index_t, int) { *cut.host() = value > 0 ? value : std::numeric_limits<float>::infinity(); });
  return cut;
}

}  // namespace cones
