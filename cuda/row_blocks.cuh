// How x [batch, rows, channels] is cut for sums over rows: blocks of 256 threads, each for a chunk of a sample's rows and a
// stripe of channels. A thread has kWidth neighbouring channels and every lanes-th row of the chunk.
//
// The cut depends on rows and channels only, so a sample's sums never depend on its neighbours in the batch.
#pragma once

#include "values.cuh"

namespace cones::cuda {

constexpr int kRowThreads = 256, kStripePieces = 32;

/// Rows of a chunk: few, so that small maps keep many blocks busy, but at most 512 chunks.
constexpr std::int64_t chunk_rows_of(std::int64_t rows) { return divide_up(rows, 512) > 64 ? divide_up(rows, 512) : 64; }
constexpr std::int64_t chunks_of(std::int64_t rows) { return divide_up(rows, chunk_rows_of(rows)); }

struct RowBlocks {
  std::int64_t rows, chunk_rows;
  int chunks, channels;
  int stripes, stripe;  // how many stripes, and the channels of one
  int lanes;            // threads that share a piece of channels

  RowBlocks(std::int64_t rows_in, std::int64_t channels_in, int width)
      : rows(rows_in), chunk_rows(chunk_rows_of(rows)), chunks(static_cast<int>(chunks_of(rows))),
        channels(static_cast<int>(channels_in)) {
    const int pieces = channels / width;
    stripes = static_cast<int>(divide_up(pieces, kStripePieces));
    const int stripe_pieces = static_cast<int>(divide_up(pieces, stripes));  // of nearly one size
    stripe = stripe_pieces * width;
    lanes = kRowThreads / stripe_pieces;
  }
  std::int64_t blocks(std::int64_t batch) const { return batch * chunks * stripes; }
  /// For two sums per channel and lane.
  std::size_t shared_bytes() const { return sizeof(float) * 2 * static_cast<std::size_t>(lanes * stripe); }
};

/// Where a thread of such a block is.
struct RowPlace {
  std::int64_t sample, chunk, first_row;  // the chunk's first row, counted through the batch
  int rows;                               // of the chunk
  int first_channel;                      // of the stripe
  int lane, local;                        // the thread's first row and its first channel of the stripe
  bool active;                            // whether the thread has any channel

  template <int kWidth>
  static DEVICE RowPlace here(const RowBlocks& cut, Width<kWidth>) {
    RowPlace p;
    const int block = dev::block_x() / cut.stripes;
    p.sample = block / cut.chunks;
    p.chunk = block % cut.chunks;
    const std::int64_t first = p.chunk * cut.chunk_rows, left = cut.rows - first;
    p.first_row = p.sample * cut.rows + first;
    p.rows = static_cast<int>(left < cut.chunk_rows ? left : cut.chunk_rows);
    p.first_channel = dev::block_x() % cut.stripes * cut.stripe;
    const int pieces = cut.stripe / kWidth;
    p.lane = dev::thread() / pieces;
    p.local = dev::thread() % pieces * kWidth;
    p.active = p.lane < cut.lanes && p.first_channel + p.local < cut.channels;
    return p;
  }
  DEVICE int channel() const { return first_channel + local; }
};

/// Shared memory for two sums per lane and channel of a stripe: [lanes, 2, stripe].
struct LaneSums {
  float* memory;
  int stripe;

  DEVICE float& at(int lane, int which, int local) const { return memory[(lane * 2 + which) * stripe + local]; }
  template <int kWidth>
  DEVICE void put(const RowPlace& p, const float (&first)[kWidth], const float (&second)[kWidth]) const {
    if (!p.active) return;
    UNROLL for (int k = 0; k < kWidth; ++k) {
      at(p.lane, 0, p.local + k) = first[k];
      at(p.lane, 1, p.local + k) = second[k];
    }
  }
};

/// Adds the lanes up in their order; pairs [batch, chunks, channels, 2] gets this block's part.
DEVICE void store_lane_sums(const RowBlocks& cut, const RowPlace& p, const LaneSums& sums, float* pairs) {
  const int local = dev::thread(), channel = p.first_channel + local;
  if (local >= cut.stripe || channel >= cut.channels) return;
  float first = 0, second = 0;
  for (int lane = 0; lane < cut.lanes; ++lane) {
    first += sums.at(lane, 0, local);
    second += sums.at(lane, 1, local);
  }
  float* to = pairs + ((p.sample * cut.chunks + p.chunk) * cut.channels + channel) * 2;
  to[0] = first;
  to[1] = second;
}

}  // namespace cones::cuda
