// cuda/rng.cuh and philox_normal against csrc/base/rng.cc: all bits.
#include "rng.cuh"

#include <bit>
#include <cstring>

#include "base/rng.h"
#include "philox_normal.h"
#include "product_check.h"

using check::Guarded;

namespace {

std::vector<std::uint64_t> seeds() {
  std::vector<std::uint64_t> out = {0, 1, ~std::uint64_t{0}, std::uint64_t{1} << 32, 0xffffffffu, 0x299f31d0a4093822u};
  std::mt19937_64 random(5);
  for (int i = 0; i < 30; ++i) out.push_back(random());
  return out;
}

/// Offsets at and around a counter's start, and where the counter's low word overflows.
constexpr std::uint64_t kOffsets[] = {0, 1, 2, 3, 4, 7, 16384, 16385, (std::uint64_t{1} << 34) - 6, (std::uint64_t{1} << 40) + 3,
                                      (std::uint64_t{1} << 63) + 1};

// Value by value, without threads: many.
void functions() {
  constexpr std::int64_t kCount = 2000;
  std::vector<float> normals(kCount);
  std::vector<std::uint32_t> words(kCount);
  for (const std::uint64_t seed : seeds())
    for (const std::uint64_t offset : kOffsets) {
      check::now = "seed " + std::to_string(seed) + ", offset " + std::to_string(offset);
      cones::philox_uint32(seed, offset, words.data(), kCount);
      cones::philox_normal(seed, offset, normals.data(), kCount);
      for (std::size_t i = 0; i < kCount; ++i) {
        const bool same = cones::cuda::uniform_at(seed, offset + i) == words[i] &&
                          std::bit_cast<std::uint32_t>(cones::cuda::normal_at(seed, offset + i)) ==
                              std::bit_cast<std::uint32_t>(normals[i]);
        if (!same) check::expect(false, "value " + std::to_string(i));
      }
    }
}

void kernel() {
  for (const std::uint64_t seed : {std::uint64_t{3}, 0x299f31d0a4093822u})
    for (const std::uint64_t offset : kOffsets)
      for (const std::int64_t count : {1, 5, 255, 256, 257, 1000}) {
        check::now = "kernel: offset " + std::to_string(offset) + ", count " + std::to_string(count);
        std::vector<float> want(static_cast<std::size_t>(count));
        cones::philox_normal(seed, offset, want.data(), count);
        check::each_order([&] {
          Guarded<float> out(want.size());
          check::expect(cones::cuda::philox_normal(nullptr, {seed, offset, out.data(), count}) == 0, "status");
          check::expect(std::memcmp(out.data(), want.data(), want.size() * sizeof(float)) == 0, "bits");
          check::expect(out.intact(), "guards");
        });
      }
  check::expect(cones::cuda::philox_normal(nullptr, {1, 0, nullptr, 0}) == cones::cuda::kInvalid, "nothing to make");
}

}  // namespace

int main() {
  functions();
  kernel();
  return check::done();
}
