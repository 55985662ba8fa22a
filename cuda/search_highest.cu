#include "search.h"
#include "values.cuh"

namespace cones::cuda {
namespace {

// Positive floats are ordered as their bits are: first by the 16 above the lowest 15 (the sign is 0), then by those 15. Two passes
// count how many values there are in each bin of bits; counts of integers do not depend on the order of adding.
constexpr int kLow = 15;
constexpr std::uint32_t kHighBins = 1u << 16, kLowBins = 1u << kLow;
constexpr int kTensors = 64;  // of one launch

struct Scratch {
  std::uint32_t high_bins[kHighBins], low_bins[kLowBins];
  std::uint32_t high;       // the bin that the value lies in; kNone: there is no positive value
  std::uint32_t unused;
  std::int64_t count;       // its place within the bin, from above
};
static_assert(sizeof(Scratch) == kSearchHighestScratch);
constexpr std::uint32_t kNone = ~0u;

struct Tensors {
  const float* values[kTensors];
  std::int64_t sizes[kTensors];
};

KERNEL void LAUNCH_BOUNDS(kSweepThreads) clear(Scratch* s) {
  const auto i = static_cast<std::uint32_t>(dev::block_x() * kSweepThreads + dev::thread());
  if (i < kHighBins) s->high_bins[i] = 0;
  if (i < kLowBins) s->low_bins[i] = 0;
}

/// Counts the bins of tensor block_y(): by the high bits, or with kSecond by the low bits of the values in the bin that was found.
template <bool kSecond>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) count_bins(const GRID_CONSTANT Tensors tensors, Scratch* s) {
  const float* const values = tensors.values[dev::block_y()];
  const std::uint32_t high = kSecond ? s->high : 0;
  sweep<1>(tensors.sizes[dev::block_y()], [&]<int>(std::int64_t i) {
    const std::uint32_t bits = dev::bits_of(values[i]);
    if (bits == 0 || bits >> 31 != 0) return;
    if constexpr (kSecond) {
      if (bits >> kLow == high) dev::atomic_add(s->low_bins + (bits & (kLowBins - 1)), 1u);
    } else {
      dev::atomic_add(s->high_bins + (bits >> kLow), 1u);
    }
  });
}

constexpr int kFindThreads = 256;

/// Of 256 counts, one per thread, thread 0's the highest values: which thread's has the count-th value, and its place there. `count`
/// may be any; beyond the sum, the last value counts. The sum is 0: −1.
struct Found {
  int thread;
  std::int64_t count;
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
  const std::int64_t all = sums[kFindThreads - 1], to = sums[thread], from = to - own;
  const std::int64_t place = count < all ? count : all;
  if (from < place && place <= to) {
    found[0] = thread;
    found[1] = place - from;
  }
  dev::sync();
  const Found result{static_cast<int>(found[0]), found[1]};
  dev::sync();  // before the memory is used anew
  return result;
}

/// The bin of the count-th value from above: first which run of kBins / 256 bins, then which bin of it.
template <std::uint32_t kBins>
DEVICE Found find_bin(const std::uint32_t* bins, std::int64_t count, std::int64_t* shared) {
  constexpr int kRun = static_cast<int>(kBins) / kFindThreads;
  static_assert(kRun <= kFindThreads);
  const auto of_run = [&](int run, int i) { return std::int64_t{bins[static_cast<int>(kBins) - 1 - run * kRun - i]}; };
  std::int64_t own = 0;
  for (int i = 0; i < kRun; i += 4) {  // the order does not matter here
    const dev::Words four = dev::load_words(bins + static_cast<int>(kBins) - (dev::thread() + 1) * kRun + i);
    own += std::int64_t{four.w[0]} + four.w[1] + four.w[2] + four.w[3];
  }
  const Found run = find(own, count, shared);
  if (run.thread < 0) return run;
  const Found bin = find(dev::thread() < kRun ? of_run(run.thread, dev::thread()) : 0, run.count, shared);
  return {static_cast<int>(kBins) - 1 - run.thread * kRun - bin.thread, bin.count};
}

DEVICE float infinity() { return dev::float_of(0x7f800000); }

constexpr std::size_t kFindShared = (kFindThreads + 2) * sizeof(std::int64_t);

KERNEL void LAUNCH_BOUNDS(kFindThreads) find_high(Scratch* s, std::int64_t count) {
  const Found bin = find_bin<kHighBins>(s->high_bins, count, reinterpret_cast<std::int64_t*>(dev::shared()));
  if (dev::thread() != 0) return;
  s->high = bin.thread < 0 ? kNone : static_cast<std::uint32_t>(bin.thread);
  s->count = bin.count;
}

KERNEL void LAUNCH_BOUNDS(kFindThreads) find_low(const Scratch* s, float* result) {
  const Found bin = find_bin<kLowBins>(s->low_bins, s->count, reinterpret_cast<std::int64_t*>(dev::shared()));
  if (dev::thread() != 0) return;
  *result = s->high == kNone ? infinity()
                             : dev::float_of(s->high << kLow | static_cast<std::uint32_t>(bin.thread));
}

KERNEL void LAUNCH_BOUNDS(32) no_cut(float* result) {
  if (dev::thread() == 0) *result = infinity();
}

}  // namespace

int search_highest(Stream* stream, const SearchHighestArgs& a) {
  if (a.count <= 0) return launch(stream, no_cut, Grid{}, 32, 0, a.result);
  auto* const scratch = static_cast<Scratch*>(a.scratch);
  int rc = launch(stream, clear, Grid{divide_up(kHighBins, kSweepThreads)}, kSweepThreads, 0, scratch);
  const auto count_all = [&](void (*kernel)(Tensors, Scratch*)) {
    for (std::int64_t first = 0; rc == 0 && first < a.tensors; first += kTensors) {
      const std::int64_t count = a.tensors - first < kTensors ? a.tensors - first : kTensors;
      Tensors tensors{};
      std::int64_t most = 1;
      for (std::int64_t t = 0; t < count; ++t) {
        tensors.values[t] = a.values[first + t];
        tensors.sizes[t] = a.sizes[first + t];
        most = most > a.sizes[first + t] ? most : a.sizes[first + t];
      }
      const std::int64_t blocks = divide_up(most, kSweepThreads * 16);
      rc = launch(stream, kernel, Grid{blocks < 128 ? blocks : 128, count}, kSweepThreads, 0, tensors, scratch);
    }
  };
  count_all(count_bins<false>);
  if (rc == 0) rc = launch(stream, find_high, Grid{}, kFindThreads, kFindShared, scratch, a.count);
  count_all(count_bins<true>);
  if (rc == 0) rc = launch(stream, find_low, Grid{}, kFindThreads, kFindShared, scratch, a.result);
  return rc;
}

}  // namespace cones::cuda
