#include "table.h"

namespace cones::cuda {
namespace {

constexpr Library kLibrary = {
    kVersion,
#define X(name) &name,
    CONES_CUDA_FUNCTIONS(X)
#undef X
};

}  // namespace
}  // namespace cones::cuda

extern "C" __attribute__((visibility("default"))) const cones::cuda::Library* cones_cuda_library(int version) {
  return version == cones::cuda::kVersion ? &cones::cuda::kLibrary : nullptr;
}
