// The C interface between the core and the CUDA library: plain structs and status codes, so that the two may have different
// compilers and C++ runtimes. The library is dlopened; its kernels run under the emulator when it is built without nvcc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cones::cuda {

/// Of elements in device memory.
enum class Type : int { f32 = 0, f16 = 1, bf16 = 2 };

/// A device with its one stream; everything queued on it happens in order.
struct Stream;

/// Status of every call: 0, a cudaError_t, or this for arguments that no kernel serves (a bug in cones).
constexpr int kInvalid = -1;

}  // namespace cones::cuda
