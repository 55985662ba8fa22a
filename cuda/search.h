// The search for concept neurons (csrc/concepts/search.h): what happens to ξ, the optimiser's moments and the score S of every
// searched weight, all kept in fp32, in the operations and the order of csrc/kernels/search_kernels.cc.
#pragma once

#include "library.h"

namespace cones::cuda {

/// As SearchUpdate of csrc/kernels/search_kernels.h.
struct SearchStep {
  bool adam;        // or plain gradient descent
  bool algorithm1;  // or A2
  bool clamp;       // keep ξ within [0, 1]
  float rate;       // of ξ; Adam's is divided by 1 − β1^k
  float rest1, beta2, rest2, correction2, epsilon;  // 1 − β1, β2, 1 − β2, 1 / √(1 − β2^k), ε
};

/// One step of the weights W [N, K] of y = x Wᵀ, whose gradient scale · dyᵀ x is used where it is computed and stored nowhere.
struct SearchUpdateOuterArgs {
  Type type;  // of dy, x, theta: f16 or bf16
  std::int64_t M, N, K;
  const void* dy;  // [M, N]
  const void* x;   // [M, K]
  float scale;     // takes out the loss scale: g = θ · (scale · dW)
  SearchStep step;
  const void* theta;    // [N, K]
  float* displacement;  // [N, K]: 1 − ξ
  float *first_moment, *second_moment;  // [N, K]; null without Adam
  float* score;                         // [N, K]: S
  const std::uint32_t* allowed;  // [N, ceil(K / 32)] words, bit k % 32 of word k / 32 is 1 where the weight is searched; null: all are
  const int* finite;             // on the device: 0 there leaves everything as it is; null: always a step
  void* scratch;                 // search_update_outer_scratch() bytes, aligned to 16; null where that is 0
  int* arrived;                  // kOuterCounters (outer.h) zeros, which are zeros again afterwards
};
std::int64_t search_update_outer_scratch(std::int64_t M, std::int64_t N, std::int64_t K);
int search_update_outer(Stream* stream, const SearchUpdateOuterArgs& args);

/// What the forward pass sees of the searched weights.
enum class SearchView : int {
  scale,  // gamma = −(1 − ξ) ⊙ θ: `delta` of kv_project beside θ as its weight
  shut,   // straight-through: gamma = 0 where the weight is chosen, θ elsewhere
};
struct SearchGammaArgs {
  Type type;  // of theta and gamma: f16 or bf16
  SearchView view;
  std::int64_t count;         // N · K
  const void* theta;          // [count]
  const float* displacement;  // [count]
  // All null or 0 for `scale`:
  const float* score;         // [count]
  const std::uint32_t* last;  // on the device, from search_highest
  float per_step;
  std::int64_t first;         // the place of the first of these weights among all
  void* gamma;                // [count]
};
int search_gamma(Stream* stream, const SearchGammaArgs& args);

/// result = the key of the count-th weight in the order of csrc/device/ranking.h; with fewer positive values than `count` one that all
/// of them pass; with none, or count 0, one that no weight has. Nothing waits on the host.
struct SearchHighestArgs {
  std::int64_t tensors;
  // In host memory, of each tensor:
  const float* const* values;   // where it lies on the device
  const float* const* seconds;  // of the same size; may be null
  const std::int64_t* sizes;    // how many values it has
  const std::int64_t* firsts;   // the place of its first weight among all, below 2^32
  float per_step;
  std::int64_t count;
  void* scratch;          // kSearchHighestScratch bytes, aligned to 16
  std::uint32_t* result;  // [3], on the device
};
constexpr std::int64_t kSearchHighestScratch = (65536 + 4) * 4;
int search_highest(Stream* stream, const SearchHighestArgs& args);

}  // namespace cones::cuda
