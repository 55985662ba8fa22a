#include "ranking.cuh"
#include "search.h"

namespace cones::cuda {
namespace {

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) gamma_kernel(SearchGammaArgs a) {
  const bool shut = a.view == SearchView::shut;
  std::uint32_t last[3] = {};
  if (shut) last[0] = a.last[0], last[1] = a.last[1], last[2] = a.last[2];
  sweep<kWidth>(a.count, [&]<int n>(std::int64_t i) {
    float theta[n], displacement[n], score[n] = {};
    load_values(static_cast<const T*>(a.theta) + i, theta);
    load_values(a.displacement + i, displacement);
    if (shut) load_values(a.score + i, score);
    UNROLL
    for (int e = 0; e < n; ++e) {
      if (shut) {
        if (is_chosen(last, a.per_step, displacement[e], score[e], a.first + i + e)) theta[e] = 0.0f;
      } else {
        theta[e] = -dev::multiply(displacement[e], theta[e]);
      }
    }
    store_values(static_cast<T*>(a.gamma) + i, theta);
  });
}

}  // namespace

int search_gamma(Stream* stream, const SearchGammaArgs& a) {
  const bool shut = a.view == SearchView::shut;
  if (shut != (a.last != nullptr) || shut != (a.score != nullptr)) return kInvalid;
  return with_type(a.type, [&](auto type) {
    return with_width(aligned16(a.theta, a.displacement, a.score, a.gamma), [&](auto width) {
      return launch(stream, gamma_kernel<decltype(type), width.value>, sweep_grid(a.count, width.value), kSweepThreads, 0, a);
    });
  });
}

}  // namespace cones::cuda
