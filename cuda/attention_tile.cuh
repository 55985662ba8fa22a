// Tiles of tokens of one head in shared memory, and the products of tiles of which all kernels of attention are made.
//
// A block has four warps and 64 rows of a matrix, 16 a warp. In fragments of mma.m16n8k16 a lane holds, of every 8 columns,
// columns lane % 4 · 2 + {0, 1} of rows lane / 4 (elements 0, 1) and lane / 4 + 8 (elements 2, 3).
#pragma once

#include "ptx.cuh"

namespace cones::cuda::attention {

constexpr int kThreads = 128;
constexpr int kRows = 64;
constexpr float kHidden = -1e30f;  // the score of what a query does not see: e^kHidden = 0, and kHidden − kHidden is no NaN
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// Channels of a tile rounded up to what one mma sums over.
template <int kChannels>
constexpr int kDepth = (kChannels + 15) / 16 * 16;
/// Values from row to row of a tile: an odd number of 16 bytes, so that the eight rows of a matrix lie in different banks.
template <int kChannels>
constexpr int kPitch = kDepth<kChannels> + 8;

/// What every kernel is told.
struct Sizes {
  int batch, queries, keys, channels, heads, dim;
  bool causal;
  bool vectors;         // 8 channels of a head are 16 aligned bytes, in every tensor
  float scale, scale2;  // 1/√d, and log2(e)/√d: exponentials are powers of two
};

/// Which tile of tokens, head and sample a block has; tiles of one head are neighbours, for they read the same keys.
struct Place {
  int tile, head, sample;
};
DEVICE Place place(const Sizes& sizes, int tokens) {
  const int tiles = (tokens + kRows - 1) / kRows, i = dev::block_x();
  return {i % tiles, i / tiles % sizes.heads, i / tiles / sizes.heads};
}

/// One head of one sample of a tensor [B, tokens, C].
template <class T>
struct Head {
  T* data;
  std::int64_t channels;  // from token to token
  int tokens, dim;
  bool vectors;
};
template <class T>
DEVICE Head<T> head_of(T* tensor, const Sizes& sizes, int tokens, const Place& at) {
  const std::int64_t channels = sizes.channels;
  return {tensor + at.sample * tokens * channels + at.head * sizes.dim, channels, tokens, sizes.dim, sizes.vectors};
}

/// Begins to copy tokens from `first` and channels from `channel` to tile [kTokens, kPitch]; beyond the head's it gets zeros. The
/// caller commits and waits.
template <int kTokens, int kChannels, class T>
DEVICE void fetch(T* tile, const Head<const T>& from, int first, int channel = 0) {
  constexpr int kChunks = kDepth<kChannels> / 8;
  for (int i = dev::thread(); i < kTokens * kChunks; i += kThreads) {
    const int row = i / kChunks, c = channel + i % kChunks * 8;
    const bool inside = first + row < from.tokens;
    const T* const source = from.data + (inside ? (first + row) * from.channels : 0);
    T* const to = tile + row * kPitch<kChannels> + i % kChunks * 8;
    if (from.vectors) {
      const bool valid = inside && c < from.dim;
      dev::copy_async(to, source + (valid ? c : 0), valid);
    } else {
      for (int e = 0; e < 8; ++e) to[e] = inside && c + e < from.dim ? source[c + e] : dev::from_float<T>(0.0f);
    }
  }
}

/// a [16, 16] = the warp's rows of a tile, at one step of 16 channels.
template <int kChannels, class T>
DEVICE void load_rows(std::uint32_t (&a)[4], const T* tile, int step) {
  const int lane = dev::thread() % 32, row = dev::thread() / 32 * 16 + lane % 16;
  dev::load_matrix4(a, tile + row * kPitch<kChannels> + step * 16 + lane / 16 * 8);
}

/// s [16, kTokens] += a [16, 16] · (the same 16 channels of tile [kTokens, kChannels])ᵀ
template <int kTokens, int kChannels, class T>
DEVICE void multiply_transposed(float (&s)[kTokens / 8][4], const std::uint32_t (&a)[4], const T* tile, int step) {
  const int lane = dev::thread() % 32;
  const T* const own = tile + (lane / 16 * 8 + lane % 8) * kPitch<kChannels> + step * 16 + lane / 8 % 2 * 8;
  UNROLL
  for (int n = 0; n < kTokens / 16; ++n) {
    std::uint32_t b[4];
    dev::load_matrix4(b, own + n * 16 * kPitch<kChannels>);
    dev::mma<T>(s[2 * n], a, b[0], b[1]);
    dev::mma<T>(s[2 * n + 1], a, b[2], b[3]);
  }
}

/// o [16, kChannels] += p [16, kTokens], rounded to 16 bits, · tile [kTokens, kChannels]
template <int kTokens, int kChannels, class T>
DEVICE void multiply(float (&o)[kChannels / 8][4], const float (&p)[kTokens / 8][4], const T* tile) {
  const int lane = dev::thread() % 32;
  const T* const own = tile + lane % 16 * kPitch<kChannels> + lane / 16 * 8;
  UNROLL
  for (int i = 0; i < kTokens / 16; ++i) {
    const std::uint32_t a[4] = {dev::pack<T>(p[2 * i][0], p[2 * i][1]), dev::pack<T>(p[2 * i][2], p[2 * i][3]),
                                dev::pack<T>(p[2 * i + 1][0], p[2 * i + 1][1]), dev::pack<T>(p[2 * i + 1][2], p[2 * i + 1][3])};
    UNROLL
    for (int n = 0; n < kDepth<kChannels> / 16; ++n) {
      std::uint32_t b[4];
      dev::load_matrix4_t(b, own + i * 16 * kPitch<kChannels> + n * 16);
      dev::mma<T>(o[2 * n], a, b[0], b[1]);
      if (2 * n + 1 < kChannels / 8) dev::mma<T>(o[2 * n + 1], a, b[2], b[3]);
    }
  }
}

template <int kCount>
DEVICE void clear(float (&values)[kCount][4]) {
  UNROLL
  for (int n = 0; n < kCount; ++n)
    for (int e = 0; e < 4; ++e) values[n][e] = 0.0f;
}

/// The first of the two rows of the block's 64 that this lane holds; the other is 8 further.
DEVICE int row_of_lane() { return dev::thread() / 32 * 16 + dev::thread() % 32 / 4; }

DEVICE void store_pair(float* to, float low, float high) { to[0] = low, to[1] = high; }
template <class T>
DEVICE void store_pair(T* to, float low, float high) {
  *reinterpret_cast<std::uint32_t*>(to) = dev::pack<T>(low, high);
}

/// Tokens from `first` and channels from `channel` of a head = factor[row] · o [64, kChannels].
template <int kChannels, class T>
DEVICE void store(const Head<T>& to, int first, int channel, const float (&o)[kChannels / 8][4], const float (&factor)[2]) {
  UNROLL
  for (int r = 0; r < 2; ++r) {
    const int token = first + row_of_lane() + r * 8;
    if (token >= to.tokens) continue;
    T* const row = to.data + token * to.channels;
    UNROLL
    for (int n = 0; n < kChannels / 8; ++n) {
      const int c = channel + n * 8 + dev::thread() % 4 * 2;
      const float low = o[n][r * 2] * factor[r], high = o[n][r * 2 + 1] * factor[r];
      if (to.vectors) {
        if (c < to.dim) store_pair(row + c, low, high);
      } else {
        if (c < to.dim) row[c] = dev::from_float<T>(low);
        if (c + 1 < to.dim) row[c + 1] = dev::from_float<T>(high);
      }
    }
  }
}

}  // namespace cones::cuda::attention
