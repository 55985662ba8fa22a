// The running softmax of attention's forward pass: maximum and sum of each row as far as its keys have been seen.
#pragma once

#include "attention_tile.cuh"

namespace cones::cuda::attention {

/// Of the two rows of a lane; four lanes share a row and agree on its maximum, while each sums its own columns.
struct Softmax {
  float top[2] = {kHidden, kHidden};  // of the scores as they come out of the product, not yet scaled
  float sum[2] = {};
};

/// Hides the keys from `first` on that do not exist or, if causal, come after the query; s [16, kKeys].
template <int kKeys>
DEVICE void hide(float (&s)[kKeys / 8][4], const Sizes& sizes, int first_query, int first) {
  const int most = sizes.causal ? first_query + 1 : sizes.keys;  // keys which the block's first query sees
  if (first + kKeys <= most) return;
  UNROLL
  for (int r = 0; r < 2; ++r) {
    const int query = first_query + row_of_lane() + r * 8;
    const int end = sizes.causal && query < sizes.keys ? query + 1 : sizes.keys;
    UNROLL
    for (int n = 0; n < kKeys / 8; ++n)
      for (int e = 0; e < 2; ++e)
        if (first + n * 8 + dev::thread() % 4 * 2 + e >= end) s[n][r * 2 + e] = kHidden;
  }
}

/// s [16, kKeys] becomes e^(score − maximum so far); o, the sum over earlier keys, is scaled to that maximum.
template <int kKeys, int kCount>
DEVICE void step(Softmax& softmax, float (&s)[kKeys / 8][4], float (&o)[kCount][4], float scale2) {
  UNROLL
  for (int r = 0; r < 2; ++r) {
    float top = softmax.top[r];
    UNROLL
    for (int n = 0; n < kKeys / 8; ++n)
      for (int e = r * 2; e < r * 2 + 2; ++e) top = s[n][e] > top ? s[n][e] : top;
    for (int mask = 1; mask < 4; mask *= 2) {
      const float other = dev::shuffle_xor(top, mask);
      top = other > top ? other : top;
    }
    const float correction = dev::exp2_fast((softmax.top[r] - top) * scale2), offset = -top * scale2;
    softmax.top[r] = top;
    float sum = softmax.sum[r] * correction;
    UNROLL
    for (int n = 0; n < kCount; ++n)
      for (int e = r * 2; e < r * 2 + 2; ++e) o[n][e] *= correction;
    UNROLL
    for (int n = 0; n < kKeys / 8; ++n)
      for (int e = r * 2; e < r * 2 + 2; ++e) {
        s[n][e] = dev::exp2_fast(dev::fma(s[n][e], scale2, offset));
        sum += s[n][e];
      }
    softmax.sum[r] = sum;
  }
}

/// After the last step: the rows' factors of o, and their logsumexp, for whose first row of the sample's and head's `to` points.
DEVICE void finish(const Softmax& softmax, const Sizes& sizes, int first_query, float* to, float (&factor)[2]) {
  for (int r = 0; r < 2; ++r) {
    float sum = softmax.sum[r];
    for (int mask = 1; mask < 4; mask *= 2) sum += dev::shuffle_xor(sum, mask);
    factor[r] = 1.0f / sum;
    const int query = first_query + row_of_lane() + r * 8;
    if (to != nullptr && dev::thread() % 4 == 0 && query < sizes.queries)
      to[query] = kLn2 * (softmax.top[r] * sizes.scale2 + dev::log2(sum));
  }
}

}  // namespace cones::cuda::attention
