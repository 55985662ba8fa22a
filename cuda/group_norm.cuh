// What both directions of group norm share.
#pragma once

#include "row_blocks.cuh"

namespace cones::cuda {

/// The channels of one thread: z = (x − mean) · scale + shift is their normalised and weighted value.
template <int kWidth>
struct GroupNormChannels {
  float mean[kWidth], scale[kWidth], shift[kWidth];

  /// statistics [batch, groups, 2]; group_size: channels of a group.
  DEVICE void read(const RowPlace& p, int groups, int group_size, const float* statistics, const float* weight,
                   const float* bias) {
    load_values(weight + p.channel(), scale);
    load_values(bias + p.channel(), shift);
    UNROLL for (int k = 0; k < kWidth; ++k) {
      const float* own = statistics + (p.sample * groups + (p.channel() + k) / group_size) * 2;
      mean[k] = own[0];
      scale[k] *= own[1];
    }
  }
  DEVICE float z(int k, float deviation) const { return dev::fma(deviation, scale[k], shift[k]); }
};

/// Whether the arguments make sense and fit the kernels' indices.
template <class Args>
bool group_norm_valid(const Args& a) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  return a.batch > 0 && a.rows > 0 && a.channels > 0 && a.groups > 0 && a.channels % a.groups == 0 && a.channels < kLimit &&
         a.batch * a.groups < kLimit && a.rows / 512 < kLimit && a.batch * chunks_of(a.rows) * divide_up(a.channels, 32) < kLimit;
}

/// Scratch [batch, chunks, channels, 2] for both directions, and what follows it.
inline std::int64_t group_norm_pairs(std::int64_t batch, std::int64_t rows, std::int64_t channels) {
  return batch * chunks_of(rows) * channels * 2;
}

}  // namespace cones::cuda
