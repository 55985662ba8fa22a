// What a job runs with: a device's memory, what computes there, and the abort flag.
#pragma once

#include <atomic>
#include <memory>

#include "base/tensor.h"

namespace cones {

class Backend;  // device/backend.h

struct Context {
  std::shared_ptr<Memory> memory;
  std::shared_ptr<const Backend> backend;
  const std::atomic<bool>* aborted = nullptr;
  /// Gradients of activations are this many times the true ones (Backend::gradient_scale); those of parameters never are.
  float gradient_scale = 1;

  /// While planning, memory is counted and nothing is computed (base/memory.h). Ops need not ask: a planning backend does
  /// nothing. Host code that looks at values must.
  bool planning() const { return memory->planning(); }
  /// The same on a device that is not there, with memory of its own: what runs with it is its own plan.
  Context plan() const;
  /// The same for a job that ends once `flag` (may be null) is set: between two ops, and within those that take long.
  Context watching(const std::atomic<bool>* flag) const;
  /// Of the type that activations have on this backend.
  Tensor empty(const Shape& shape) const;
  Tensor empty(const Shape& shape, DType dtype) const { return Tensor(*memory, shape, dtype); }
  Tensor zeros(const Shape& shape) const;
  Tensor zeros(const Shape& shape, DType dtype) const;
  /// Throws CONES_ABORTED when the job's signal has fired. Called between blocks of the models; the CPU's ops look by themselves.
  void check_aborted() const;
};

}  // namespace cones
