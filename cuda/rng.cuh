// Philox 4×32-10 and normals in kernels: the bits of csrc/base/rng.cc, whose comments say what each line is for. Only correctly
// rounded operations, each by its wrapper, which the compiler does not contract.
#pragma once

#include <cstdint>

#include "ptx.cuh"

namespace cones::cuda {

struct PhiloxWords {
  std::uint32_t x, y, z, w;
};

DEVICE PhiloxWords philox4x32_10(PhiloxWords counter, std::uint32_t key0, std::uint32_t key1) {
  constexpr std::uint32_t kA = 0xd2511f53u, kB = 0xcd9e8d57u;
  UNROLL for (int round = 0; round < 10; ++round) {
    counter = {dev::multiply_high(kB, counter.z) ^ counter.y ^ key0, kB * counter.z,
               dev::multiply_high(kA, counter.x) ^ counter.w ^ key1, kA * counter.x};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

/// The words of values 4·counter … 4·counter + 3 of stream `seed`.
DEVICE PhiloxWords words_at(std::uint64_t seed, std::uint64_t counter) {
  return philox4x32_10({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
                       static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// ln u for normal u > 0.
DEVICE float log_fp32(float u) {
  constexpr std::uint32_t kSqrtHalf = 0x3f3504f3, kOne = 0x3f800000;
  constexpr float kPolynomial[] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                                   -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  const std::uint32_t shifted = dev::bits_of(u) + (kOne - kSqrtHalf);
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted >> 23) - 127);
  const float f = dev::subtract(dev::float_of((shifted & 0x007fffffu) + kSqrtHalf), 1.0f);
  const float square = dev::multiply(f, f);
  float y = 7.0376836292e-2f;
  UNROLL for (int i = 0; i < 8; ++i) y = dev::fma(y, f, kPolynomial[i]);
  y = dev::multiply(dev::multiply(y, f), square);
  y = dev::fma(exponent, -2.12194440e-4f, y);
  y = dev::fma(square, -0.5f, y);
  return dev::fma(exponent, 0.693359375f, dev::add(f, y));
}

struct SinCos {
  float sin, cos;
};

/// Of the angle 2π·turn·2⁻³².
DEVICE SinCos sincos_fp32(std::uint32_t turn) {
  const std::uint32_t quadrant = (turn + 0x20000000u) >> 30;
  const auto rest = static_cast<std::int32_t>(turn - (quadrant << 30));
  const float x = dev::multiply(static_cast<float>(rest), 1.46291807926715969e-9f);
  const float square = dev::multiply(x, x);
  float s = dev::fma(-1.9515295891e-4f, square, 8.3321608736e-3f);
  s = dev::fma(s, square, -1.6666654611e-1f);
  s = dev::fma(dev::multiply(s, square), x, x);
  float c = dev::fma(2.443315711809948e-5f, square, -1.388731625493765e-3f);
  c = dev::fma(c, square, 4.166664568298827e-2f);
  c = dev::fma(dev::multiply(c, square), square, dev::fma(square, -0.5f, 1.0f));
  switch (quadrant & 3u) {
    case 0: return {s, c};
    case 1: return {c, -s};
    case 2: return {-s, -c};
    default: return {-c, s};
  }
}

/// Value `position` of the uniform stream `seed`.
DEVICE std::uint32_t uniform_at(std::uint64_t seed, std::uint64_t position) {
  const PhiloxWords words = words_at(seed, position / 4);
  const std::uint32_t even = (position & 2u) != 0 ? words.z : words.x, odd = (position & 2u) != 0 ? words.w : words.y;
  return (position & 1u) != 0 ? odd : even;
}

/// Value `position` of the standard normal stream `seed`. Four neighbours share a counter and two a radius, but streams begin
/// anywhere, and to make them anew costs less than to sort out who shares.
DEVICE float normal_at(std::uint64_t seed, std::uint64_t position) {
  const PhiloxWords words = words_at(seed, position / 4);
  const bool second = (position & 2u) != 0;
  const float u = dev::fma(static_cast<float>(second ? words.z : words.x), 0x1p-32f, 0x1p-33f);
  const float radius = dev::square_root(dev::multiply(-2.0f, log_fp32(u)));
  const SinCos angle = sincos_fp32(second ? words.w : words.y);
  return dev::multiply(radius, (position & 1u) != 0 ? angle.sin : angle.cos);
}

}  // namespace cones::cuda
