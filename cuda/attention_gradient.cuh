// What the kernels of attention's backward pass share. One kernel gives dq and one gives dk and dv, without atomics; they mirror
// each other. A block owns 64 tokens, of queries for dq or of keys for dk and dv, and goes over the `other` tokens:
//   s = own₀ other₀ᵀ   p = e^(s − logsumexp)     g = own₁ other₁ᵀ   ds = p (g − delta)     (own, other = q, dy and k, v)
//   dq = scale · ds k   and, mirrored,   dk = scale · ds q,  dv = p dy
//
// ds is rounded to 16 bits for its product; p being 1/4096, it would be subnormal in fp16 where dy is not. So it is divided by a
// power of two, the `unit`, that follows the size of dy and is multiplied again into the sums, which is exact. A query's unit is
// at most Σ_c |dy| and more than half of it, therefore |g| and |delta| are below 2·max|v| units and ds, as p (1 − p) ≤ ¼, below
// max|v|: it never overflows.
#pragma once

#include "attention_task.h"

namespace cones::cuda::attention {

/// Bounds of a unit: what lies beyond is bf16, which needs none.
constexpr float kLeastUnit = 0x1p-100f, kMostUnit = 0x1p+100f;

template <class T>
struct Backward {
  Sizes sizes;
  const T *dy, *q, *k, *v;
  const float *logsumexp, *delta, *unit;  // [B, heads, T]; delta = Σ_c dy · out
  T *dq, *dk, *dv;
  int parts;                   // of the queries that dk and dv sum over
  float *dk_parts, *dv_parts;  // [parts, B, S, C] if there are several
};

/// Whose gradient a kernel makes.
enum class Of { queries, keys };

/// What a block owns and what it goes over: other tokens [begin, end).
template <class T>
struct Work {
  Place at;
  int first;  // own token
  int begin, end;
  Head<const T> own[2], other[2];
};

template <Of kOf, int kOther, class T>
DEVICE Work<T> work_of(const Backward<T>& a) {
  const Sizes& z = a.sizes;
  Work<T> w;
  w.at = place(z, kOf == Of::keys ? z.keys : z.queries);
  w.first = w.at.tile * kRows;
  const Head<const T> q = head_of(a.q, z, z.queries, w.at), dy = head_of(a.dy, z, z.queries, w.at);
  const Head<const T> k = head_of(a.k, z, z.keys, w.at), v = head_of(a.v, z, z.keys, w.at);
  if constexpr (kOf == Of::queries) {
    w.own[0] = q, w.own[1] = dy, w.other[0] = k, w.other[1] = v;
    w.begin = 0;
    w.end = z.causal && w.first + kRows < z.keys ? w.first + kRows : z.keys;
  } else {
    w.own[0] = k, w.own[1] = v, w.other[0] = q, w.other[1] = dy;
    const int tiles = (z.queries + kOther - 1) / kOther, share = (tiles + a.parts - 1) / a.parts * kOther;
    w.begin = dev::block_z() * share;
    w.end = w.begin + share < z.queries ? w.begin + share : z.queries;
    if (z.causal && w.begin < w.first) w.begin = w.first;  // queries before see none of these keys
  }
  return w;
}

/// logsumexp in powers of two, delta and unit of kCount queries from `first` on, in shared memory; zeros beyond the last.
template <int kCount, class T>
DEVICE void fetch_statistics(float* to, const Backward<T>& a, const Place& at, int first) {
  const std::int64_t row = (static_cast<std::int64_t>(at.sample) * a.sizes.heads + at.head) * a.sizes.queries + first;
  for (int i = dev::thread(); i < kCount; i += kThreads) {
    const bool inside = first + i < a.sizes.queries;
    to[i] = inside ? a.logsumexp[row + i] * kLog2e : 0.0f;
    to[kCount + i] = inside ? a.delta[row + i] : 0.0f;
    to[2 * kCount + i] = inside ? a.unit[row + i] : kLeastUnit;
  }
}

/// s, g [16, kOther] become p and ds / unit; `inverse` is 1/unit of the lane's two rows, statistics those of the queries, be they
/// the block's own (the rows) or the others (the columns).
template <Of kOf, int kOther, class T>
DEVICE void gradient_of_scores(float (&s)[kOther / 8][4], float (&g)[kOther / 8][4], const Sizes& sizes, const Work<T>& w,
                               int first_other, const float* statistics, const float (&inverse)[2]) {
  constexpr int kQueries = kOf == Of::keys ? kOther : kRows;
  const int other_tokens = kOf == Of::keys ? sizes.queries : sizes.keys;
  // Whether some pair of this tile does not exist or is hidden by causality.
  const bool ragged = first_other + kOther > other_tokens ||
                      (sizes.causal && (kOf == Of::keys ? w.first + kRows > first_other : first_other + kOther > w.first));
  UNROLL
  for (int n = 0; n < kOther / 8; ++n)
    UNROLL
    for (int e = 0; e < 4; ++e) {
      const int row = row_of_lane() + e / 2 * 8, column = n * 8 + dev::thread() % 4 * 2 + e % 2;
      const int i = kOf == Of::keys ? column : row;
      float p = dev::exp2_fast(dev::fma(s[n][e], sizes.scale2, -statistics[i]));
      if (ragged) {
        const int query = kOf == Of::keys ? first_other + column : w.first + row;
        const int key = kOf == Of::keys ? w.first + row : first_other + column;
        if (query >= sizes.queries || key >= sizes.keys || (sizes.causal && key > query)) p = 0.0f;
      }
      s[n][e] = p;
      g[n][e] = p * (g[n][e] - statistics[kQueries + i]) * inverse[e / 2];
    }
}

/// The unit in which the block sums, one for all of its rows: the largest of the queries so far. `sum` follows it.
template <int kQueries, int kCount>
DEVICE float follow_unit(float unit, const float* statistics, float (&sum)[kCount][4]) {
  float top = unit;
  for (int i = dev::thread() % 32; i < kQueries; i += 32) {
    const float own = statistics[2 * kQueries + i];
    top = own > top ? own : top;
  }
  top = dev::warp_max(top);
  if (top > unit) {
    const float factor = unit / top;  // a power of two
    UNROLL
    for (int n = 0; n < kCount; ++n)
      for (int e = 0; e < 4; ++e) sum[n][e] *= factor;
  }
  return top;
}

/// dk or dv of the block's tokens, or this block's part of it.
template <int kChannels, class T>
DEVICE void store_part(T* gradient, float* parts, const Backward<T>& a, const Work<T>& w, int channel,
                       const float (&sum)[kChannels / 8][4], float factor) {
  const float factors[2] = {factor, factor};
  const Sizes& z = a.sizes;
  if (a.parts > 1) {
    float* const own = parts + static_cast<std::int64_t>(dev::block_z()) * z.batch * z.keys * z.channels;
    store<kChannels>(head_of(own, z, z.keys, w.at), w.first, channel, sum, factors);
  } else {
    store<kChannels>(head_of(gradient, z, z.keys, w.at), w.first, channel, sum, factors);
  }
}

/// Heads of any dimension above kWidestHead: attention_backward_wide.cu.
int backward_wide(Stream* stream, const Backward<dev::half>& task);
int backward_wide(Stream* stream, const Backward<dev::bf16>& task);

/// delta and unit of every query and head: attention_statistics.cu.
int gradient_statistics(Stream* stream, const Sizes& sizes, const dev::half* dy, const dev::half* out, float* delta, float* unit);
int gradient_statistics(Stream* stream, const Sizes& sizes, const dev::bf16* dy, const dev::bf16* out, float* delta, float* unit);

/// gradient [count] = the sum of parts [parts, count] in their order.
int sum_parts(Stream* stream, const float* parts, int count_of_parts, std::int64_t count, dev::half* gradient);
int sum_parts(Stream* stream, const float* parts, int count_of_parts, std::int64_t count, dev::bf16* gradient);

}  // namespace cones::cuda::attention
