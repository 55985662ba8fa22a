// Host side of attention: checks of the arguments, and the choice of a kernel by the head dimension.
#pragma once

#include <cmath>
#include <cstdint>

#include "attention.h"
#include "attention_tile.cuh"
#include "launch.h"

namespace cones::cuda::attention {

/// Widest head whose outputs stay in registers whole; wider ones go slice by slice (attention_*_wide.cu).
constexpr std::int64_t kWidestHead = 160;

template <class... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Whether kernels can serve args of forward or backward; their counts fit 32 bits.
template <class Args>
bool valid(const Args& args) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const auto fits = [](std::int64_t n) { return n > 0 && n <= kMost; };
  if (!fits(args.batch) || !fits(args.queries) || !fits(args.keys) || !fits(args.channels) || !fits(args.heads)) return false;
  if (args.channels % args.heads != 0 || (args.causal && args.queries != args.keys)) return false;
  const std::int64_t longer = args.queries > args.keys ? args.queries : args.keys;
  return divide_up(longer, kRows) <= kMost / args.heads && divide_up(longer, kRows) * args.heads <= kMost / args.batch;
}

template <class Args>
Sizes sizes_of(const Args& args, bool pointers_aligned) {
  const auto dim = static_cast<int>(args.channels / args.heads);
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  return {static_cast<int>(args.batch), static_cast<int>(args.queries), static_cast<int>(args.keys),
          static_cast<int>(args.channels), static_cast<int>(args.heads), dim, args.causal,
          pointers_aligned && dim % 8 == 0, static_cast<float>(scale), static_cast<float>(scale * 1.4426950408889634)};
}

/// Blocks for all tiles of `tokens` tokens, heads and samples; see place().
inline std::int64_t blocks_of(const Sizes& sizes, int tokens) {
  return divide_up(tokens, kRows) * sizes.heads * sizes.batch;
}

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};
/// f(Constant<channels>) with the channels of the tiles that hold heads of `dim`: 40, 64, 80 and 160 are Stable Diffusion's.
template <class F>
int with_channels(int dim, const F& f) {
  if (dim <= 16) return f(Constant<16>());
  if (dim <= 32) return f(Constant<32>());
  if (dim <= 40) return f(Constant<40>());
  if (dim <= 48) return f(Constant<48>());
  if (dim <= 64) return f(Constant<64>());
  if (dim <= 80) return f(Constant<80>());
  if (dim <= 96) return f(Constant<96>());
  if (dim <= 128) return f(Constant<128>());
  if (dim <= 160) return f(Constant<160>());
  return kInvalid;
}

}  // namespace cones::cuda::attention
