// What the two forward kernels of attention share.
#pragma once

#include "attention_task.h"

namespace cones::cuda::attention {

template <class T>
struct Forward {
  Sizes sizes;
  const T *q, *k, *v;
  T* out;
  float* logsumexp;
};

/// Where the logsumexp of a sample's and head's queries begins, or null.
template <class T>
DEVICE float* logsumexp_of(const Forward<T>& a, const Place& at) {
  if (a.logsumexp == nullptr) return nullptr;
  return a.logsumexp + (static_cast<std::int64_t>(at.sample) * a.sizes.heads + at.head) * a.sizes.queries;
}

/// Heads of any dimension above kWidestHead: attention_forward_wide.cu.
int forward_wide(Stream* stream, const Forward<dev::half>& task);
int forward_wide(Stream* stream, const Forward<dev::bf16>& task);

}  // namespace cones::cuda::attention
