#include "ranking.cuh"
#include "search.h"

namespace cones::cuda {
namespace {

// The key is found 16 bits at a time: a pass counts how many weights have each value of these bits, of those with the same bits before
// them. Counts of integers do not depend on the order of adding.
constexpr std::uint32_t kBins = 1u << 16;
constexpr int kDigits = 6;
constexpr int kTensors = 64;  // of one launch

struct Scratch {
  std::uint32_t bins[kBins];
  std::uint32_t found;  // whether the key is, before its last bits: all weights that have its bits so far are chosen
  std::uint32_t unused;
  std::int64_t count;  // its place among these, from above
};
static_assert(sizeof(Scratch) == kSearchHighestScratch);

struct Tensors {
  const float *values[kTensors], *seconds[kTensors];
  std::int64_t sizes[kTensors], firsts[kTensors];
  float per_step;
};

KERNEL void LAUNCH_BOUNDS(kSweepThreads) start(Scratch* s, std::uint32_t* key, std::int64_t count) {
  const auto i = static_cast<std::uint32_t>(dev::block_x() * kSweepThreads + dev::thread());
  if (i < kBins) s->bins[i] = 0;
  if (i < 3) key[i] = count > 0 ? 0 : ~0u;
  if (i == 0) s->found = count > 0 ? 0 : 1, s->count = count;
}

KERNEL void LAUNCH_BOUNDS(kSweepThreads) clear(Scratch* s) {
  const auto i = static_cast<std::uint32_t>(dev::block_x() * kSweepThreads + dev::thread());
  if (i < kBins && s->found == 0) s->bins[i] = 0;
}

/// Counts the bins of tensor block_y() by a digit of the key, where all digits before it are those of the key.
KERNEL void LAUNCH_BOUNDS(kSweepThreads) count_bins(const GRID_CONSTANT Tensors tensors, Scratch* s, const std::uint32_t* key, int digit) {
  if (s->found != 0) return;
  const int t = dev::block_y();
  const float *const values = tensors.values[t], *const seconds = tensors.seconds[t];
  const std::uint32_t known[3] = {key[0], key[1], key[2]};
  const auto same = [&](std::uint32_t word, int which) {
    if (digit >= 2 * which + 2) return word == known[which];
    return digit == 2 * which || word >> 16 == known[which] >> 16;
  };
  sweep<1>(tensors.sizes[t], [&]<int>(std::int64_t i) {
    std::uint32_t word = value_word(values[i], tensors.per_step);
    if (word == 0 || !same(word, 0)) return;
    if (digit >= 2) {
      word = seconds != nullptr ? second_word(seconds[i]) : 0;
      if (!same(word, 1)) return;
    }
    if (digit >= 4) {
      word = place_word(tensors.firsts[t] + i);
      if (!same(word, 2)) return;
    }
    dev::atomic_add(s->bins + (digit % 2 == 0 ? word >> 16 : word & 0xffff), 1u);
  });
}

constexpr int kFindThreads = 256;

/// Of 256 counts, one per thread, thread 0's the highest values: which thread's has the count-th value, and its place there; −1 where
/// they are fewer than `count` in all.
struct Found {
  int thread;
  std::int64_t count, all;
};
DEVICE Found find(std::int64_t own, std::int64_t count, std::int64_t* shared) {
  std::int64_t* const sums = shared;           // [256]: of all threads up to this
  std::int64_t* const found = shared + kFindThreads;  // thread, count
  const int thread = dev::thread();
  if (thread == 0) found[0] = -1, found[1] = 0;
  sums[thread] = own;
  dev::sync();
  for (int far = 1; far < kFindThreads; far *= 2) {
    const std::int64_t before = thread >= far ? sums[thread - far] : 0;
    dev::sync();
    sums[thread] += before;
    dev::sync();
  }
  const std::int64_t to = sums[thread], from = to - own;
  if (from < count && count <= to) {
    found[0] = thread;
    found[1] = count - from;
  }
  dev::sync();
  const Found result{static_cast<int>(found[0]), found[1], sums[kFindThreads - 1]};
  dev::sync();  // before the memory is used anew
  return result;
}

/// The bin of the count-th value from above: first which run of 256 bins, then which bin of it.
DEVICE Found find_bin(const std::uint32_t* bins, std::int64_t count, std::int64_t* shared) {
  constexpr int kRun = static_cast<int>(kBins) / kFindThreads;
  static_assert(kRun == kFindThreads);
  std::int64_t own = 0;
  for (int i = 0; i < kRun; i += 4) {  // the order does not matter here
    const dev::Words four = dev::load_words(bins + static_cast<int>(kBins) - (dev::thread() + 1) * kRun + i);
    own += std::int64_t{four.w[0]} + four.w[1] + four.w[2] + four.w[3];
  }
  const Found run = find(own, count, shared);
  if (run.thread < 0) return run;
  const Found bin = find(std::int64_t{bins[static_cast<int>(kBins) - 1 - run.thread * kRun - dev::thread()]}, run.count, shared);
  return {static_cast<int>(kBins) - 1 - run.thread * kRun - bin.thread, bin.count, run.all};
}

constexpr std::size_t kFindShared = (kFindThreads + 2) * sizeof(std::int64_t);

KERNEL void LAUNCH_BOUNDS(kFindThreads) find_digit(Scratch* s, std::uint32_t* key, int digit) {
  if (s->found != 0) return;
  const Found bin = find_bin(s->bins, s->count, reinterpret_cast<std::int64_t*>(dev::shared()));
  if (dev::thread() != 0) return;
  if (bin.thread < 0) {  // only of the first digit: all that is positive, or nothing
    s->found = 1;
    key[0] = bin.all > 0 ? 1 : ~0u;
    key[1] = key[2] = bin.all > 0 ? 0 : ~0u;
    return;
  }
  const auto value = static_cast<std::uint32_t>(bin.thread);
  key[digit / 2] |= digit % 2 == 0 ? value << 16 : value;
  s->found = bin.count == std::int64_t{s->bins[bin.thread]} ? 1 : 0;
  s->count = bin.count;
}

}  // namespace

int search_highest(Stream* stream, const SearchHighestArgs& a) {
  auto* const scratch = static_cast<Scratch*>(a.scratch);
  const Grid bins{divide_up(kBins, kSweepThreads)};
  int rc = launch(stream, start, bins, kSweepThreads, 0, scratch, a.result, a.count);
  for (int digit = 0; rc == 0 && digit < kDigits; ++digit) {
    if (digit > 0) rc = launch(stream, clear, bins, kSweepThreads, 0, scratch);
    for (std::int64_t first = 0; rc == 0 && first < a.tensors; first += kTensors) {
      const std::int64_t count = a.tensors - first < kTensors ? a.tensors - first : kTensors;
      Tensors tensors{};
      tensors.per_step = a.per_step;
      std::int64_t most = 1;
      for (std::int64_t t = 0; t < count; ++t) {
        tensors.values[t] = a.values[first + t];
        tensors.seconds[t] = a.seconds[first + t];
        tensors.sizes[t] = a.sizes[first + t];
        tensors.firsts[t] = a.firsts[first + t];
        most = most > a.sizes[first + t] ? most : a.sizes[first + t];
      }
      const std::int64_t blocks = divide_up(most, kSweepThreads * 16);
      rc = launch(stream, count_bins, Grid{blocks < 128 ? blocks : 128, count}, kSweepThreads, 0, tensors, scratch, a.result, digit);
    }
    if (rc == 0) rc = launch(stream, find_digit, Grid{}, kFindThreads, kFindShared, scratch, a.result, digit);
  }
  return rc;
}

}  // namespace cones::cuda
