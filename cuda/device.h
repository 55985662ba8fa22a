// Devices, and the memory and the one stream of a model on one of them. Under the emulator a "device" is this machine's memory.
//
// A stream serves one thread at a time, any thread; only `release` may be called beside other calls, as memory is given back by
// whoever lets go of it last. Everything queued on a stream happens in order, so memory that queued work still reads may be
// written again by later calls of the same stream.
#pragma once

#include "library.h"

namespace cones::cuda {

/// Not enough device memory (cudaErrorMemoryAllocation): the stream stays good. After any other status but kInvalid of a call
/// on a stream, take the device for lost.
constexpr int kOutOfMemory = 2;

struct DeviceInfo {
  char name[256];         // ends with 0
  int major, minor;       // compute capability; the kernels need 8.0 or newer
  int multiprocessors;
  std::int64_t memory;    // bytes
};

/// The newest CUDA that the driver serves (0: there is no driver), and the one that the library was built for: 1000·major + 10·minor.
int cuda_versions(int* driver, int* library);
/// How many devices there are. Any error (no driver, an old one, no card) leaves 0, and its status says which.
int device_count(int* count);
int device_info(int device, DeviceInfo* info);

/// A stream with its staging memory on a device; null in *stream where it fails.
int stream_open(int device, Stream** stream);
/// Waits for all that is queued, then gives everything back but memory from `allocate`, which goes first. Null: nothing.
int stream_close(Stream* stream);

/// Bytes of the device that are free, and all.
int memory_available(Stream* stream, std::int64_t* free, std::int64_t* total);
/// Uninitialised memory, aligned to 256 bytes; kOutOfMemory where there is not enough.
int allocate(Stream* stream, std::int64_t bytes, void** memory);
/// Waits for all that is queued. Null: nothing.
int release(Stream* stream, void* memory);

/// Queues a copy from host memory, which may change as soon as this returns.
int upload(Stream* stream, void* to, const void* from, std::int64_t bytes);
/// Waits for all that is queued, then copies to host memory.
int download(Stream* stream, void* to, const void* from, std::int64_t bytes);
/// Queues a copy within the device; the two places do not overlap.
int copy(Stream* stream, void* to, const void* from, std::int64_t bytes);
/// Queues the filling with zero bytes.
int zero(Stream* stream, void* at, std::int64_t bytes);
/// Waits for all that is queued; the status of whatever failed in it.
int finish(Stream* stream);

/// What a status means, in English; never null.
const char* error_text(int status);

/// Kernels started since the library was opened: tests see that no op does without.
std::int64_t launches();

}  // namespace cones::cuda
