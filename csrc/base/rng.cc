#include "base/rng.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cones {
namespace {

using Words = std::array<std::uint32_t, 4>;

struct Product {
  std::uint32_t high, low;
};

Product multiply(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t product = std::uint64_t{a} * b;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}

// Polynomials: Cephes (Moshier), logf, sinf and cosf. Every multiplication that an addition follows is an explicit fma, so
// that no compiler can round it differently.

/// ln u for normal u > 0, within about 1 ulp.
float log_fp32(float u) {
  constexpr std::uint32_t kSqrtHalf = 0x3f3504f3, kOne = 0x3f800000;
  const std::uint32_t shifted = std::bit_cast<std::uint32_t>(u) + (kOne - kSqrtHalf);
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted >> 23) - 127);
  const float f = std::bit_cast<float>((shifted & 0x007fffffu) + kSqrtHalf) - 1.0f;  // mantissa in [√½, √2), less one
  const float square = f * f;
  float y = 7.0376836292e-2f;
  for (const float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                        2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
    y = std::fma(y, f, c);
  y = y * f * square;
  y = std::fma(exponent, -2.12194440e-4f, y);  // ln 2 in two parts, the larger one exact in products
  y = std::fma(square, -0.5f, y);
  return std::fma(exponent, 0.693359375f, f + y);
}

struct SinCos {
  float sin, cos;
};

/// Sine and cosine of the angle 2π·turn·2⁻³². The quadrant is split off in integers, exactly.
SinCos sincos_fp32(std::uint32_t turn) {
  const std::uint32_t quadrant = (turn + 0x20000000u) >> 30;
  const auto rest = static_cast<std::int32_t>(turn - (quadrant << 30));  // within ±2²⁹, an eighth of a turn
  const float x = static_cast<float>(rest) * 1.46291807926715969e-9f;    // 2π·2⁻³²
  const float square = x * x;
  float s = std::fma(-1.9515295891e-4f, square, 8.3321608736e-3f);
  s = std::fma(s, square, -1.6666654611e-1f);
  s = std::fma(s * square, x, x);
  float c = std::fma(2.443315711809948e-5f, square, -1.388731625493765e-3f);
  c = std::fma(c, square, 4.166664568298827e-2f);
  c = std::fma(c * square, square, std::fma(square, -0.5f, 1.0f));
  switch (quadrant & 3u) {
    case 0: return {s, c};
    case 1: return {c, -s};
    case 2: return {-s, -c};
    default: return {-c, s};
  }
}

Words words_at(std::uint64_t seed, std::uint64_t counter) {
  return philox4x32_10({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
                       {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

std::array<float, 4> normals_of(const Words& words) {
  std::array<float, 4> out;
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    const float u = std::fma(static_cast<float>(words[pair]), 0x1p-32f, 0x1p-33f);
    const float radius = std::sqrt(-2.0f * log_fp32(u));
    const SinCos angle = sincos_fp32(words[pair + 1]);
    out[pair] = radius * angle.cos;
    out[pair + 1] = radius * angle.sin;
  }
  return out;
}

/// Fills out with values [offset, offset + count) where `four(counter)` makes four at a time.
template <typename T, typename Four>
void fill(std::uint64_t offset, T* out, index_t count, const Four& four) {
  for (index_t done = 0; done < count;) {
    const std::uint64_t at = offset + static_cast<std::uint64_t>(done);
    const auto values = four(at / 4);
    const auto skip = static_cast<index_t>(at % 4), take = std::min<index_t>(4 - skip, count - done);
    std::copy_n(values.begin() + skip, take, out + done);
    done += take;
  }
}

}  // namespace

Words philox4x32_10(Words counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const Product a = multiply(0xd2511f53u, counter[0]), b = multiply(0xcd9e8d57u, counter[2]);
    counter = {b.high ^ counter[1] ^ key[0], b.low, a.high ^ counter[3] ^ key[1], a.low};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return counter;
}

void philox_uint32(std::uint64_t seed, std::uint64_t offset, std::uint32_t* out, index_t count) {
  fill(offset, out, count, [seed](std::uint64_t counter) { return words_at(seed, counter); });
}

void philox_normal(std::uint64_t seed, std::uint64_t offset, float* out, index_t count) {
  fill(offset, out, count, [seed](std::uint64_t counter) { return normals_of(words_at(seed, counter)); });
}

}  // namespace cones
