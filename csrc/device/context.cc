#include "device/context.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Context Context::plan() const {
  return {.memory = Memory::create_planning(memory->device()), .backend = backend->planner()};
}

Context Context::watching(const std::atomic<bool>* flag) const {
  Context job = *this;
  job.aborted = flag;
  if (auto watching = backend->watching(flag)) job.backend = std::move(watching);
  return job;
}

Tensor Context::empty(const Shape& shape) const { return empty(shape, backend->activation()); }

Tensor Context::zeros(const Shape& shape) const { return zeros(shape, backend->activation()); }

Tensor Context::zeros(const Shape& shape, DType dtype) const {
  Tensor tensor = empty(shape, dtype);
  if (!planning()) memory->device().zero(tensor.raw(), tensor.bytes());
  return tensor;
}

void Context::check_aborted() const {
  if (aborted != nullptr && aborted->load(std::memory_order_relaxed)) fail("CONES_ABORTED", "The job was aborted.");
}

}  // namespace cones
