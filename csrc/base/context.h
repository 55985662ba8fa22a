// What an op needs to run: threads, memory, the processor's kernels and the abort flag.
#pragma once

#include <atomic>
#include <memory>

#include "base/tensor.h"
#include "base/threads.h"

namespace cones {

struct Kernels;  // csrc/kernels/kernels.h: the inner loops for this processor

struct Context {
  std::shared_ptr<Memory> memory;
  std::shared_ptr<ThreadPool> pool;
  const Kernels* kernels = nullptr;
  const std::atomic<bool>* aborted = nullptr;

  /// While planning, ops allocate their outputs and return: nothing is computed (see base/memory.h).
  bool planning() const { return memory->planning(); }
  Tensor empty(const Shape& shape) const { return Tensor(*memory, shape); }
  Tensor zeros(const Shape& shape) const;
  /// Splits [0, count) into ranges of at least `grain` and runs f(begin, end, lane) on the pool.
  void parallel(index_t count, index_t grain, const std::function<void(index_t, index_t, int)>& f) const;
  /// Throws CONES_ABORTED when the job's signal has fired. Called between blocks of the models.
  void check_aborted() const;
};

}  // namespace cones
