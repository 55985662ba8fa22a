#include "outer.h"

#include "outer.cuh"

namespace cones::cuda {
namespace {

/// Stores eight neighbours of dw, or as many as the row has; as pieces of 16 bytes where all rows allow.
struct StoreGradient {
  float* dw;
  std::int64_t N, K;
  float scale;
  bool wide;

  DEVICE void operator()(std::int64_t n, std::int64_t k, const float (&sums)[8]) const {
    if (n >= N || k >= K) return;
    float v[8];
    UNROLL
    for (int e = 0; e < 8; ++e) v[e] = dev::multiply(scale, sums[e]);
    float* const to = dw + n * K + k;
    if (wide) return store_values(to, v);
    UNROLL
    for (int e = 0; e < 8; ++e)
      if (k + e < K) to[e] = v[e];
  }
};

}  // namespace

std::int64_t outer_scratch(std::int64_t M, std::int64_t N, std::int64_t K) { return outer_product_scratch(M, N, K); }

int outer(Stream* stream, const OuterArgs& a) {
  return with_type(a.type, [&](auto zero) {
    using T = decltype(zero);
    const OuterTask<T> task{a.M, a.N, a.K, static_cast<const T*>(a.dy), static_cast<const T*>(a.x), a.scratch, a.arrived, nullptr};
    return start_outer_product(stream, task, StoreGradient{a.dw, a.N, a.K, a.scale, a.K % 8 == 0 && aligned16(a.dw)});
  });
}

}  // namespace cones::cuda
