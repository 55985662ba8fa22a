// The product of matrices on tensor cores (mma.sync, sm_80 and newer): sums(m, n) = Σ_k A(m, k) · B(n, k), fp32 accumulators.
//
// A block computes one tile of kM × kN. Tiles of A and B for kDepth values of k arrive in a ring of kStages stages of shared
// memory (cp.async); warps read them as fragments (ldmatrix) and multiply. Every sum runs over ascending k in steps of 16,
// whatever the tile's shape and whatever other rows there are: a result depends on its own row and column alone.
//
// Where A and B come from is the caller's: a *loader* (examples: matrix.cuh) is
//
//   using Value = dev::half;          // or dev::bf16
//   static constexpr bool kAcross;    // false: neighbours along k are neighbours in memory (A [M, K], W [N, K])
//                                     // true: neighbours along m (n) are (A [K, M], W [K, N])
//   static constexpr bool kMasked;    // has keep()
//   struct Row;    Row row(std::int64_t m) const;        // what is to be known of row m of A (of column n of B); kept in registers
//   struct Column; Column column(int k) const;           // what is to be known of k; computed for every step
//   const Value* at(const Row&, const Column&) const;    // where the value is; null: it is zero. Also past the ends of m, n and k!
//   std::uint32_t keep(const Row&, const Column&) const; // kMasked: bit 0 is 1 where the value at() is kept, bits 1 … 7 of its
//                                                        // neighbours in memory; asked for only where at() is not null
//
// A convolution's loader gathers: k = tap · C + channel, row() = the pixel, column() = tap and channel, at() = null beyond the edge.
//
// kAligned: at() is asked for m, n, k that are multiples of 8 (in the direction of memory), and the eight values there are taken,
// aligned to 16 bytes and all of them zeros or none. Otherwise it is asked for one value at a time (any size, any address).
#pragma once

#include "launch.h"

namespace cones::cuda {

/// Of a block's tile and of its warps' parts of it.
template <int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kStages_ = 4>
struct TileShape {
  static constexpr int kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kDepth = 32, kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;  // a warp's part
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0, "fragments are 16 × 16");
};
using LargeTile = TileShape<128, 128, 2, 4>;
using NarrowTile = TileShape<128, 80, 4, 1>;  // the widths of the UNet are multiples of 160
using SmallTile = TileShape<64, 64, 2, 2>;

/// One operand's tiles: kRows rows (of A; columns of B) and kDepth values of k.
template <class Shape, bool kAligned, int kRows, class Loader>
class Feeder {
 public:
  using T = typename Loader::Value;
  static constexpr bool kAcross = Loader::kAcross;
  static constexpr int kLines = kAcross ? Shape::kDepth : kRows, kParts = (kAcross ? kRows : Shape::kDepth) / 8;
  static constexpr int kPitch = kParts * 8 + 8;  // no two of eight lines share banks
  static constexpr int kBytes = kLines * kPitch * 2;

  DEVICE Feeder(const Loader& loader, std::int64_t first) : loader_(loader), first_(first) {
    UNROLL
    for (int s = 0; s < kKnownRows; ++s) rows_[s] = loader.row(first + (kAcross ? part(s) : line(s)));
  }
  /// Starts filling `tile` with k … k + kDepth − 1.
  DEVICE void fetch(T* tile, int k) const {
    UNROLL
    for (int s = 0; s < kSlots; ++s) {
      if (!mine(s)) continue;
      T* const to = tile + line(s) * kPitch + part(s);
      const int at_k = k + (kAcross ? line(s) : part(s));
      if constexpr (kAligned) {
        const T* const from = loader_.at(row(s), loader_.column(at_k));
        dev::copy_async(to, from, from != nullptr);
      } else {
        for (int e = 0; e < 8; ++e) {
          const typename Loader::Row r = loader_.row(first_ + (kAcross ? part(s) + e : line(s)));
          const typename Loader::Column c = loader_.column(at_k + (kAcross ? 0 : e));
          const T* from = loader_.at(r, c);
          if constexpr (Loader::kMasked)
            if (from != nullptr && (loader_.keep(r, c) & 1) == 0) from = nullptr;
          to[e] = from != nullptr ? *from : dev::from_float<T>(0.0f);
        }
      }
    }
  }
  /// Masks: reads the bits for k … (long before they are needed) and zeroes what they leave out of the values that this very
  /// thread fetched, once they are there and before others look.
  DEVICE void read_bits(int k) {
    if constexpr (kAligned && Loader::kMasked) {
      UNROLL
      for (int s = 0; s < kSlots; ++s) {
        const typename Loader::Column c = loader_.column(k + (kAcross ? line(s) : part(s)));
        bits_[s] = mine(s) && loader_.at(row(s), c) != nullptr ? loader_.keep(row(s), c) : 0xff;
      }
    }
  }
  DEVICE void apply_bits(T* tile) const {
    if constexpr (kAligned && Loader::kMasked) {
      UNROLL
      for (int s = 0; s < kSlots; ++s) {
        if (!mine(s) || (bits_[s] & 0xff) == 0xff) continue;
        T* const eight = tile + line(s) * kPitch + part(s);
        dev::Words v = dev::load_words(eight);
        UNROLL
        for (int i = 0; i < 4; ++i)
          v.w[i] &= (bits_[s] >> (2 * i) & 1 ? 0x0000ffffu : 0u) | (bits_[s] >> (2 * i) & 2 ? 0xffff0000u : 0u);
        dev::store_words(eight, v);
      }
    }
  }

 private:
  static constexpr int kChunks = kLines * kParts, kSlots = (kChunks + Shape::kThreads - 1) / Shape::kThreads;
  static constexpr bool kOnePart = Shape::kThreads % kParts == 0;  // all chunks of a thread lie at one place of their lines
  static constexpr int kKnownRows = kAcross && kOnePart ? 1 : kSlots;

  static DEVICE int line(int s) { return (dev::thread() + s * Shape::kThreads) / kParts; }
  static DEVICE int part(int s) { return (dev::thread() + (kOnePart ? 0 : s * Shape::kThreads)) % kParts * 8; }
  static DEVICE bool mine(int s) { return kChunks % Shape::kThreads == 0 || dev::thread() + s * Shape::kThreads < kChunks; }
  DEVICE const typename Loader::Row& row(int s) const { return rows_[kKnownRows == 1 ? 0 : s]; }

  const Loader& loader_;
  std::int64_t first_;
  typename Loader::Row rows_[kKnownRows];
  std::uint32_t bits_[kSlots];
};

/// A thread's part of a tile's sums.
template <class Shape>
struct Sums {
  static constexpr int kI = Shape::kWarpM / 16, kJ = Shape::kWarpN / 8, kCount = kI * kJ * 4;
  float c[kI][kJ][4];  // kI × kJ fragments of mma.m16n8k16

  DEVICE void zero() {
    UNROLL
    for (int i = 0; i < kI; ++i)
      UNROLL
      for (int j = 0; j < kJ; ++j)
        UNROLL
        for (int e = 0; e < 4; ++e) c[i][j][e] = 0;
  }
  /// f(m, n, value at (m, n), value at (m, n + 1)) with m and the even n counted within the tile, in one fixed order.
  template <class F>
  DEVICE void each_pair(const F& f) const {
    const int lane = dev::thread() % 32, warp = dev::thread() / 32;
    const int m0 = warp / Shape::kWarpsN * Shape::kWarpM + lane / 4, n0 = warp % Shape::kWarpsN * Shape::kWarpN + lane % 4 * 2;
    UNROLL
    for (int i = 0; i < kI; ++i)
      UNROLL
      for (int h = 0; h < 2; ++h)
        UNROLL
        for (int j = 0; j < kJ; ++j) f(m0 + i * 16 + h * 8, n0 + j * 8, c[i][j][h * 2], c[i][j][h * 2 + 1]);
  }
};

template <class Shape, class A, class B>
constexpr int product_shared() {
  return Shape::kStages * (Feeder<Shape, true, Shape::kM, A>::kBytes + Feeder<Shape, true, Shape::kN, B>::kBytes);
}

/// sums += the products for k in [first_k, end_k) of rows m0 … of A and columns n0 … of B. first_k is a multiple of kDepth; end_k
/// too, unless the loaders are zero from there on. `memory`: product_shared() bytes, free when all of the block's threads are here,
/// and to be used anew only after a dev::sync().
template <class Shape, bool kAligned, class A, class B>
DEVICE void multiply(char* memory, const A& loader_a, const B& loader_b, std::int64_t m0, std::int64_t n0, int first_k,
                     int end_k, Sums<Shape>& sums) {
  using T = typename A::Value;
  using FeederA = Feeder<Shape, kAligned, Shape::kM, A>;
  using FeederB = Feeder<Shape, kAligned, Shape::kN, B>;
  constexpr int kStages = Shape::kStages, kDepth = Shape::kDepth, kStage = FeederA::kBytes + FeederB::kBytes;
  FeederA a(loader_a, m0);
  FeederB b(loader_b, n0);
  const auto tile_a = [&](int stage) { return reinterpret_cast<T*>(memory + stage * kStage); };
  const auto tile_b = [&](int stage) { return reinterpret_cast<T*>(memory + stage * kStage + FeederA::kBytes); };

  const int steps = (end_k - first_k + kDepth - 1) / kDepth;
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) {
      a.fetch(tile_a(s), first_k + s * kDepth);
      b.fetch(tile_b(s), first_k + s * kDepth);
    }
    dev::copy_commit();  // also of nothing: copy_wait counts groups
  }
  a.read_bits(first_k);
  b.read_bits(first_k);

  const int lane = dev::thread() % 32, warp = dev::thread() / 32;
  const int wm = warp / Shape::kWarpsN * Shape::kWarpM, wn = warp % Shape::kWarpsN * Shape::kWarpN;
  int stage = 0, free = kStages - 1;
  for (int step = 0; step < steps; ++step) {
    dev::copy_wait<kStages - 2>();
    a.apply_bits(tile_a(stage));
    b.apply_bits(tile_b(stage));
    dev::sync();  // the stage is complete, and nobody reads the one before it any more: that one is filled next
    const int next = first_k + (step + kStages - 1) * kDepth;
    if (step + kStages - 1 < steps) {
      a.fetch(tile_a(free), next);
      b.fetch(tile_b(free), next);
    }
    dev::copy_commit();
    if (step + 1 < steps) {
      a.read_bits(first_k + (step + 1) * kDepth);
      b.read_bits(first_k + (step + 1) * kDepth);
    }

    const T *const ta = tile_a(stage), *const tb = tile_b(stage);
    UNROLL
    for (int k = 0; k < kDepth; k += 16) {
      std::uint32_t fa[Sums<Shape>::kI][4];
      UNROLL
      for (int i = 0; i < Sums<Shape>::kI; ++i) {
        const int m = wm + i * 16;
        if constexpr (A::kAcross) {
          dev::load_matrix4_t(fa[i], ta + (k + lane / 16 * 8 + lane % 8) * FeederA::kPitch + m + lane / 8 % 2 * 8);
        } else {
          dev::load_matrix4(fa[i], ta + (m + lane % 16) * FeederA::kPitch + k + lane / 16 * 8);
        }
      }
      UNROLL
      for (int j = 0; j < Sums<Shape>::kJ; j += 2) {
        const int n = wn + j * 8;
        std::uint32_t fb[4];
        if constexpr (B::kAcross) {
          dev::load_matrix4_t(fb, tb + (k + lane % 16) * FeederB::kPitch + n + lane / 16 * 8);
        } else {
          dev::load_matrix4(fb, tb + (n + lane / 16 * 8 + lane % 8) * FeederB::kPitch + k + lane / 8 % 2 * 8);
        }
        UNROLL
        for (int i = 0; i < Sums<Shape>::kI; ++i) {
          dev::mma<T>(sums.c[i][j], fa[i], fb[0], fb[1]);
          dev::mma<T>(sums.c[i][j + 1], fa[i], fb[2], fb[3]);
        }
      }
    }
    stage = stage + 1 == kStages ? 0 : stage + 1;
    free = free + 1 == kStages ? 0 : free + 1;
  }
}

/// Which tile of rows × columns block_x() computes: eight rows of tiles are walked together, so that tiles that share operands
/// are computed at about one time and find them in the second-level cache.
struct TileIndex {
  std::int64_t row, column;
};
DEVICE TileIndex tile_index(std::int64_t block, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kTogether = 8;
  const std::int64_t group = block / (kTogether * columns), first = group * kTogether;
  const std::int64_t height = rows - first < kTogether ? rows - first : kTogether, inside = block - first * columns;
  return {first + inside % height, inside / height};
}

}  // namespace cones::cuda
