#include "outer.cuh"
#include "search.h"

namespace cones::cuda {
namespace {

/// What a step reads and writes of kWidth weights.
template <int kWidth>
struct Weights {
  float theta[kWidth], displacement[kWidth], score[kWidth], first[kWidth], second[kWidth];
};

/// csrc/kernels/search_kernels.cc, one weight: every operation rounded once, none contracted.
DEVICE void update(const SearchStep& step, float theta, float gradient, float& displacement, float& first, float& second,
                   float& score) {
  using dev::add, dev::divide, dev::multiply, dev::subtract;
  const float xi = subtract(1.0f, displacement);
  float g = multiply(theta, gradient);
  if (step.algorithm1) g = multiply(g, xi);
  score = add(score, g);
  if (step.algorithm1) g = multiply(g, xi);

  float move = multiply(step.rate, g);
  if (step.adam) {
    first = add(first, multiply(step.rest1, subtract(g, first)));
    second = add(multiply(step.beta2, second), multiply(multiply(step.rest2, g), g));
    move = divide(multiply(step.rate, first), add(multiply(dev::square_root(second), step.correction2), step.epsilon));
  }
  const float d = add(displacement, move);  // ξ −= move
  const float above = 0.0f > d ? 0.0f : d, within = 1.0f < above ? 1.0f : above;
  displacement = step.clamp ? within : d;
}

/// The step of eight neighbours, or of as many as the row has.
template <class T>
struct UpdateState {
  SearchStep step;
  std::int64_t N, K;
  float scale;
  bool wide;  // eight neighbours are aligned
  const T* theta;
  float *displacement, *first, *second, *score;
  const std::uint32_t* allowed;

  template <int kWidth>
  DEVICE void at(std::int64_t i, std::uint32_t which, const float* sums) const {
    if ((which & ((1u << kWidth) - 1)) == 0) return;
    Weights<kWidth> w{};
    load_values(theta + i, w.theta);
    load_values(displacement + i, w.displacement);
    load_values(score + i, w.score);
    if (step.adam) {
      load_values(first + i, w.first);
      load_values(second + i, w.second);
    }
    UNROLL
    for (int e = 0; e < kWidth; ++e)
      if (which >> e & 1)
        update(step, w.theta[e], dev::multiply(scale, sums[e]), w.displacement[e], w.first[e], w.second[e], w.score[e]);
    store_values(displacement + i, w.displacement);
    store_values(score + i, w.score);
    if (step.adam) {
      store_values(first + i, w.first);
      store_values(second + i, w.second);
    }
  }
  DEVICE void operator()(std::int64_t n, std::int64_t k, const float (&sums)[8]) const {
    if (n >= N || k >= K) return;
    const std::uint32_t which = allowed != nullptr ? allowed[n * ((K + 31) / 32) + k / 32] >> (k % 32) : ~0u;
    const std::int64_t i = n * K + k;
    if (wide) return at<8>(i, which, sums);
    UNROLL
    for (int e = 0; e < 8; ++e)
      if (k + e < K) at<1>(i + e, which >> e, sums + e);
  }
};

}  // namespace

std::int64_t search_update_outer_scratch(std::int64_t M, std::int64_t N, std::int64_t K) { return outer_product_scratch(M, N, K); }

int search_update_outer(Stream* stream, const SearchUpdateOuterArgs& a) {
  return with_type(a.type, [&](auto zero) {
    using T = decltype(zero);
    const bool wide = a.K % 8 == 0 && aligned16(a.theta, a.displacement, a.first_moment, a.second_moment, a.score);
    const OuterTask<T> task{a.M, a.N, a.K, static_cast<const T*>(a.dy), static_cast<const T*>(a.x), a.scratch, a.arrived, a.finite};
    return start_outer_product(stream, task,
                               UpdateState<T>{a.step, a.N, a.K, a.scale, wide, static_cast<const T*>(a.theta), a.displacement,
                                              a.first_moment, a.second_moment, a.score, a.allowed});
  });
}

}  // namespace cones::cuda
