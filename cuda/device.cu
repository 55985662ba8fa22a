#include "device.h"

#ifndef __CUDACC__
#include "emulated_device.h"
#else

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "launch.h"

namespace cones::cuda {
namespace {

/// Host memory of the driver's, cut into slots: copies from and to other host memory would wait for the device each time.
/// A slot a copy, so that a few small uploads can be under way while the host is ahead of the device.
constexpr int kSlots = 16;
constexpr std::int64_t kSlot = std::int64_t{1} << 20;

/// Status of a runtime call. An error is also kept by the runtime, for whoever asks next: not for a later launch.
int status_of(cudaError_t error) {
  if (error != cudaSuccess) (void)cudaGetLastError();
  return static_cast<int>(error);
}

}  // namespace

struct Stream {
  int device = 0;
  cudaStream_t queue = nullptr;
  char* staging = nullptr;
  cudaEvent_t done[kSlots] = {};  // the copy that last used a slot; waiting for it does not spin: the host has other work
  int next = 0;

  /// The runtime works on the device that is the calling thread's own.
  cudaError_t enter() const { return cudaSetDevice(device); }
  int take_slot() {
    const int slot = next;
    next = (next + 1) % kSlots;
    return slot;
  }
};

cudaStream_t stream_of(Stream* stream) {
  (void)stream->enter();
  return stream->queue;
}

#define TRY(call)                                       \
  do {                                                  \
    const int status = status_of(call);                 \
    if (status != 0) return status;                     \
  } while (false)

int cuda_versions(int* driver, int* library) {
  *driver = *library = 0;
  TRY(cudaRuntimeGetVersion(library));
  TRY(cudaDriverGetVersion(driver));
  return 0;
}

int device_count(int* count) {
  int found = 0;
  *count = 0;
  TRY(cudaGetDeviceCount(&found));
  *count = found;
  return 0;
}

int device_info(int device, DeviceInfo* info) {
  *info = {};
  cudaDeviceProp properties;
  TRY(cudaGetDeviceProperties(&properties, device));
  std::strncpy(info->name, properties.name, sizeof info->name - 1);
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->memory = static_cast<std::int64_t>(properties.totalGlobalMem);
  return 0;
}

namespace {

int open(Stream* stream) {
  TRY(stream->enter());
  TRY(cudaStreamCreateWithFlags(&stream->queue, cudaStreamNonBlocking));
  TRY(cudaHostAlloc(reinterpret_cast<void**>(&stream->staging), kSlots * kSlot, cudaHostAllocDefault));
  for (cudaEvent_t& event : stream->done)
    TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
  return 0;
}

/// Waits for the copy that last used a slot.
int wait(Stream* stream, int slot) { return status_of(cudaEventSynchronize(stream->done[slot])); }

}  // namespace

int stream_open(int device, Stream** stream) {
  *stream = nullptr;
  Stream* const made = new (std::nothrow) Stream;
  if (made == nullptr) return kOutOfMemory;
  made->device = device;
  const int status = open(made);
  if (status == 0) {
    *stream = made;
  } else {
    (void)stream_close(made);
  }
  return status;
}

int stream_close(Stream* stream) {
  if (stream == nullptr) return 0;
  const std::unique_ptr<Stream> owned(stream);
  // All of it, even after an error: on a lost device every call fails, and what it had is gone.
  int status = status_of(stream->enter());
  const auto note = [&status](cudaError_t error) {
    const int now = status_of(error);
    if (status == 0) status = now;
  };
  if (stream->queue != nullptr) note(cudaStreamSynchronize(stream->queue));
  for (cudaEvent_t event : stream->done)
    if (event != nullptr) note(cudaEventDestroy(event));
  if (stream->staging != nullptr) note(cudaFreeHost(stream->staging));
  if (stream->queue != nullptr) note(cudaStreamDestroy(stream->queue));
  return status;
}

int memory_available(Stream* stream, std::int64_t* free, std::int64_t* total) {
  std::size_t f = 0, t = 0;
  *free = *total = 0;
  TRY(stream->enter());
  TRY(cudaMemGetInfo(&f, &t));
  *free = static_cast<std::int64_t>(f);
  *total = static_cast<std::int64_t>(t);
  return 0;
}

int allocate(Stream* stream, std::int64_t bytes, void** memory) {
  *memory = nullptr;
  if (bytes <= 0) return kInvalid;
  TRY(stream->enter());
  return status_of(cudaMalloc(memory, static_cast<std::size_t>(bytes)));
}

int release(Stream* stream, void* memory) {
  if (memory == nullptr) return 0;
  TRY(stream->enter());
  TRY(cudaStreamSynchronize(stream->queue));
  return status_of(cudaFree(memory));
}

int upload(Stream* stream, void* to, const void* from, std::int64_t bytes) {
  TRY(stream->enter());
  for (std::int64_t at = 0; at < bytes; at += kSlot) {
    const auto size = static_cast<std::size_t>(std::min(kSlot, bytes - at));
    const int slot = stream->take_slot();
    if (const int status = wait(stream, slot); status != 0) return status;
    char* const staged = stream->staging + slot * kSlot;
    std::memcpy(staged, static_cast<const char*>(from) + at, size);
    TRY(cudaMemcpyAsync(static_cast<char*>(to) + at, staged, size, cudaMemcpyHostToDevice, stream->queue));
    TRY(cudaEventRecord(stream->done[slot], stream->queue));
  }
  return 0;
}

int download(Stream* stream, void* to, const void* from, std::int64_t bytes) {
  TRY(stream->enter());
  const std::int64_t parts = divide_up(bytes, kSlot);
  const int first = stream->next;
  const auto slot_of = [first](std::int64_t part) { return static_cast<int>((first + part) % kSlots); };
  const auto size_of = [bytes](std::int64_t part) { return static_cast<std::size_t>(std::min(kSlot, bytes - part * kSlot)); };
  // As many parts under way as there are slots; the first of them is taken out while the others arrive.
  for (std::int64_t asked = 0, taken = 0; taken < parts; ++taken) {
    for (; asked < parts && asked - taken < kSlots; ++asked) {
      const int slot = stream->take_slot();
      TRY(cudaMemcpyAsync(stream->staging + slot * kSlot, static_cast<const char*>(from) + asked * kSlot, size_of(asked),
                          cudaMemcpyDeviceToHost, stream->queue));
      TRY(cudaEventRecord(stream->done[slot], stream->queue));
    }
    const int slot = slot_of(taken);
    if (const int status = wait(stream, slot); status != 0) return status;
    std::memcpy(static_cast<char*>(to) + taken * kSlot, stream->staging + slot * kSlot, size_of(taken));
  }
  return 0;
}

int copy(Stream* stream, void* to, const void* from, std::int64_t bytes) {
  TRY(stream->enter());
  return status_of(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream->queue));
}

int zero(Stream* stream, void* at, std::int64_t bytes) {
  TRY(stream->enter());
  return status_of(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), stream->queue));
}

int finish(Stream* stream) {
  TRY(stream->enter());
  const int slot = stream->take_slot();
  TRY(cudaEventRecord(stream->done[slot], stream->queue));
  return wait(stream, slot);
}

std::int64_t launches() { return launched.load(std::memory_order_relaxed); }

const char* error_text(int status) {
  if (status == kInvalid) return "arguments that no kernel serves";
  return cudaGetErrorString(static_cast<cudaError_t>(status));
}

}  // namespace cones::cuda

#endif  // __CUDACC__
