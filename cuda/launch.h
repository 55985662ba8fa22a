// How host code of cuda/*.cu starts kernels: on the card, or fiber by fiber under the emulator.
#pragma once

#include <atomic>
#include <cstddef>

#include "library.h"
#include "ptx.cuh"

namespace cones::cuda {

/// Blocks in each direction.
struct Grid {
  std::int64_t x = 1, y = 1, z = 1;
};

/// Calls f(T()) with the 16-bit type that `type` names; CONES_CUDA_INVALID for any other.
template <class F>
int with_type(Type type, const F& f) {
  switch (type) {
    case Type::f16: return f(dev::half());
    case Type::bf16: return f(dev::bf16());
    default: return kInvalid;
  }
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

#ifdef __CUDACC__

cudaStream_t stream_of(Stream* stream);  // device.cu
inline std::atomic<std::int64_t> launched{0};

/// Starts `kernel` on the stream with `threads` threads a block and `shared` bytes of shared memory; 0, or the error's number.
template <class... Parameters, class... Arguments>
int launch(Stream* stream, void (*kernel)(Parameters...), Grid grid, int threads, std::size_t shared, const Arguments&... arguments) {
  const cudaStream_t queue = stream_of(stream);  // first: it makes the stream's device this thread's
  if (shared > (48u << 10)) {
    // A kernel must ask for more than 48 KiB; asking again costs nothing to speak of.
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return static_cast<int>(error);
  }
  launched.fetch_add(1, std::memory_order_relaxed);
  kernel<<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z)),
           static_cast<unsigned>(threads), shared, queue>>>(arguments...);
  return static_cast<int>(cudaGetLastError());
}

#else

template <class... Parameters, class... Arguments>
int launch(Stream*, void (*kernel)(Parameters...), Grid grid, int threads, std::size_t shared, const Arguments&... arguments) {
  dev::launch(static_cast<int>(grid.x), static_cast<int>(grid.y), static_cast<int>(grid.z), threads, shared,
              [&] { kernel(arguments...); });
  return 0;
}

#endif

}  // namespace cones::cuda
