// Philox against the authors' vectors, normals against double precision and against what a normal sample must show.
#include "base/rng.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "harness.h"

using namespace cones;

namespace {

std::vector<float> normals(std::uint64_t seed, std::uint64_t offset, index_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  philox_normal(seed, offset, out.data(), count);
  return out;
}

}  // namespace

// Random123 1.14, tests/kat_vectors, philox4x32 10.
TEST("philox known answers") {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT((philox4x32_10({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT((philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT((philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST("uniform words are the counter's, low words first") {
  const std::uint64_t seed = 0x299f31d0a4093822u, offset = 4 * 0x123456789u;
  std::array<std::uint32_t, 4> got;
  philox_uint32(seed, offset, got.data(), 4);
  EXPECT((got == philox4x32_10({0x23456789u, 0x1u, 0, 0}, {0xa4093822u, 0x299f31d0u})));
}

TEST("any part of a stream equals that part of the whole") {
  const std::uint64_t starts[] = {0, 1, (std::uint64_t{1} << 34) - 7};
  for (const std::uint64_t start : starts) {
    const std::vector<float> whole = normals(5, start, 64);
    for (index_t begin = 0; begin < 9; ++begin)
      for (index_t count = 0; count < 10; ++count) {
        const std::vector<float> part = normals(5, start + static_cast<std::uint64_t>(begin), count);
        EXPECT(std::equal(part.begin(), part.end(), whole.begin() + begin));
      }
  }
}

// fp32 against the same formula in double: the uniform is rounded to fp32 by definition, so the reference starts from it.
// Each of ln, √, sin, cos and their product adds at most a few fp32 roundings (6e-8 each) to a value of at most 6.8, and
// near a zero of sin or cos the error is relative to the radius.
TEST("normals follow Box-Muller") {
  const index_t count = 400000;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(count));
  philox_uint32(11, 0, words.data(), count);
  const std::vector<float> got = normals(11, 0, count);
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); i += 2) {
    const double u = static_cast<double>(std::fma(static_cast<float>(words[i]), 0x1p-32f, 0x1p-33f));
    const double radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * words[i + 1] * 0x1p-32;
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - radius * std::cos(angle)) / radius);
    worst = std::max(worst, std::abs(static_cast<double>(got[i + 1]) - radius * std::sin(angle)) / radius);
  }
  EXPECT(worst <= 4 * 6e-8);
}

// Moments, tails and correlations of n draws lie within 4.5 standard errors of a normal distribution's.
TEST("normals look normal") {
  const index_t count = 1 << 20;
  const std::vector<float> x = normals(123456789, 7, count);
  const double n = static_cast<double>(count);
  double sum[5] = {}, neighbour = 0, beyond_two = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = static_cast<double>(x[i]);
    for (int power = 1; power <= 4; ++power) sum[power] += std::pow(v, power) / n;
    if (i > 0) neighbour += v * static_cast<double>(x[i - 1]) / n;
    beyond_two += (std::abs(v) > 2) / n;
  }
  const auto within = [n](double got, double want, double variance) {
    return std::abs(got - want) <= 4.5 * std::sqrt(variance / n);
  };
  EXPECT(within(sum[1], 0, 1));
  EXPECT(within(sum[2], 1, 2));
  EXPECT(within(sum[3], 0, 15));
  EXPECT(within(sum[4], 3, 96));
  EXPECT(within(neighbour, 0, 1));
  const double tail = std::erfc(std::numbers::sqrt2);  // P(|x| > 2)
  EXPECT(within(beyond_two, tail, tail * (1 - tail)));
}

TEST("streams of neighbouring seeds are uncorrelated") {
  const index_t count = 1 << 18;
  const std::vector<float> a = normals(1, 0, count), b = normals(2, 0, count);
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  EXPECT(std::abs(product) <= 4.5 * std::sqrt(static_cast<double>(count)));
}
