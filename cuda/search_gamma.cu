#include "search.h"
#include "values.cuh"

namespace cones::cuda {
namespace {

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) gamma_kernel(SearchGammaArgs a) {
  const bool shut = a.view == SearchView::shut;
  const float cut = shut ? *a.cut : 0.0f;
  sweep<kWidth>(a.count, [&]<int n>(std::int64_t i) {
    float theta[n], displacement[n];
    load_values(static_cast<const T*>(a.theta) + i, theta);
    load_values(a.displacement + i, displacement);
    UNROLL
    for (int e = 0; e < n; ++e) {
      if (shut) {
        if (displacement[e] >= cut) theta[e] = 0.0f;
      } else {
        theta[e] = -dev::multiply(displacement[e], theta[e]);
      }
    }
    store_values(static_cast<T*>(a.gamma) + i, theta);
  });
}

}  // namespace

int search_gamma(Stream* stream, const SearchGammaArgs& a) {
  if ((a.view == SearchView::shut) != (a.cut != nullptr)) return kInvalid;
  return with_type(a.type, [&](auto type) {
    return with_width(aligned16(a.theta, a.displacement, a.gamma), [&](auto width) {
      return launch(stream, gamma_kernel<decltype(type), width.value>, sweep_grid(a.count, width.value), kSweepThreads, 0, a);
    });
  });
}

}  // namespace cones::cuda
