#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "cpu/backend.h"
#include "device/ranking.h"

namespace cones {
namespace {

// The last key that is chosen is found 16 bits at a time: how many weights have those before it and which of these?
constexpr std::uint32_t kBins = 1 << 16;
constexpr int kDigits = 6;

struct Digit {
  RankKey key;  // the digits before this one; zeros from here on
  int number;
};

std::uint32_t digit_of(std::uint32_t word, int number) { return number % 2 == 0 ? word >> 16 : word & 0xffff; }

/// How many weights have each value of a digit, of those with the same digits before it; of the first digit only from `lowest` on.
std::vector<std::int64_t> count_bins(const Context& context, std::span<const RankedWeights> tensors, float per_step, const Digit& digit,
                                     std::uint32_t lowest) {
  const auto same = [&](std::uint32_t word, int which) {  // the digits of this word before this one, or all where it is a later word's
    if (digit.number >= 2 * which + 2) return word == digit.key[static_cast<std::size_t>(which)];
    return digit.number == 2 * which || word >> 16 == digit.key[static_cast<std::size_t>(which)] >> 16;
  };
  std::vector<std::vector<std::uint32_t>> lanes(static_cast<std::size_t>(cpu_of(context).threads()));
  cpu_of(context).run(static_cast<std::int64_t>(tensors.size()), [&](std::int64_t t, int lane) {
    std::vector<std::uint32_t>& bins = lanes[static_cast<std::size_t>(lane)];
    bins.resize(kBins);
    const RankedWeights& weights = tensors[static_cast<std::size_t>(t)];
    const float* values = weights.values.host();
    const float* seconds = weights.seconds.defined() ? weights.seconds.host() : nullptr;
    for (index_t i = 0; i < weights.values.size(); ++i) {
      std::uint32_t word = value_word(values[i], per_step);
      if (word < lowest || !same(word, 0)) continue;
      if (digit.number >= 2) {
        word = seconds != nullptr ? second_word(seconds[i]) : 0;
        if (!same(word, 1)) continue;
      }
      if (digit.number >= 4) {
        word = place_word(weights.first + i);
        if (!same(word, 2)) continue;
      }
      ++bins[digit_of(word, digit.number)];
    }
  });
  std::vector<std::int64_t> sum(kBins);
  for (const auto& bins : lanes)
    for (std::size_t i = 0; i < bins.size(); ++i) sum[i] += bins[i];
  return sum;
}

RankKey last_chosen(const Context& context, std::span<const RankedWeights> tensors, float per_step, std::int64_t count,
                    std::uint32_t guess) {
  constexpr std::uint32_t kLowest = 1;  // of the least positive value
  Digit digit{{}, 0};
  std::vector<std::int64_t> bins;
  for (; digit.number < kDigits; ++digit.number) {
    bins = count_bins(context, tensors, per_step, digit, digit.number == 0 ? std::max(guess, kLowest) : kLowest);
    if (digit.number == 0) {
      std::int64_t all = std::reduce(bins.begin(), bins.end());
      if (guess > kLowest && all < count) {
        bins = count_bins(context, tensors, per_step, digit, kLowest);
        all = std::reduce(bins.begin(), bins.end());
      }
      if (all == 0) return kNoneChosen;
      if (all < count) return {kLowest, 0, 0};
    }
    std::uint32_t bin = kBins - 1;
    while (count > bins[bin]) count -= bins[bin--];
    digit.key[static_cast<std::size_t>(digit.number / 2)] |= digit.number % 2 == 0 ? bin << 16 : bin;
    if (count == bins[bin]) break;  // all of them
  }
  return digit.key;
}

}  // namespace

Tensor Cpu::highest(const Context& context, std::span<const RankedWeights> tensors, float per_step, std::int64_t count,
                    const Tensor& guess) const {
  Tensor last = context.empty({3});
  std::uint32_t likely = 0;
  run(1, [&](index_t, int) {
    RankKey known{};
    if (guess.defined()) std::memcpy(known.data(), guess.host(), sizeof known);
    // Four fifths of the value, say: what lies below is not even counted.
    if (known != kNoneChosen) likely = value_word(0.8f * std::bit_cast<float>(known[0]), 0);
  });
  const RankKey key = count > 0 ? last_chosen(context, tensors, per_step, count, likely) : kNoneChosen;
  run(1, [&](index_t, int) { std::memcpy(last.host(), key.data(), sizeof key); });
  return last;
}

}  // namespace cones
