// The functions of cuda/device.h for the emulator: device memory is host memory that starts as NaN, and whoever copies to or
// from anything else is told so. CONES_CUDA_EMULATED_MEMORY: the device's bytes (default 8 GiB); CONES_CUDA_EMULATED_LOST: uploads
// fail.
// Included once, by cuda/device.cu.
#pragma once

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "device.h"
#include "emulator.h"

namespace cones::cuda {
namespace emulated {

// cudaErrorInvalidValue, cudaErrorInvalidDevice, cudaErrorLaunchFailure
constexpr int kInvalidValue = 1, kInvalidDevice = 101, kLaunchFailure = 719;

/// What is allocated on the one device, by address.
struct Memory {
  std::mutex mutex;
  std::map<const char*, std::int64_t> blocks;
  std::int64_t used = 0;
};
inline Memory memory;

/// cudaErrorLaunchFailure, from the moment on at which CONES_CUDA_EMULATED_LOST is set.
inline int lost() { return std::getenv("CONES_CUDA_EMULATED_LOST") != nullptr ? kLaunchFailure : 0; }

inline std::int64_t total_memory() {
  const char* text = std::getenv("CONES_CUDA_EMULATED_MEMORY");
  return text != nullptr ? std::atoll(text) : std::int64_t{8} << 30;
}

/// Whether [at, at + bytes) lies in one block.
inline bool is_device_memory(const void* at, std::int64_t bytes) {
  const std::lock_guard lock(memory.mutex);
  const char* const begin = static_cast<const char*>(at);
  const auto after = memory.blocks.upper_bound(begin);
  if (bytes < 0 || after == memory.blocks.begin()) return false;
  const auto block = std::prev(after);
  return begin + bytes <= block->first + block->second;
}

}  // namespace emulated

struct Stream {};

int cuda_versions(int* driver, int* library) {
  *driver = *library = 13000;
  return 0;
}

int device_count(int* count) {
  *count = 1;
  return 0;
}

int device_info(int device, DeviceInfo* info) {
  *info = {};
  if (device != 0) return emulated::kInvalidDevice;
  std::strcpy(info->name, "emulated GPU");
  info->major = 9;
  info->multiprocessors = 1;
  info->memory = emulated::total_memory();
  return 0;
}

int stream_open(int device, Stream** stream) {
  *stream = device == 0 ? new Stream : nullptr;
  return device == 0 ? 0 : emulated::kInvalidDevice;
}

int stream_close(Stream* stream) {
  delete stream;
  return 0;
}

int memory_available(Stream*, std::int64_t* free, std::int64_t* total) {
  const std::lock_guard lock(emulated::memory.mutex);
  *total = emulated::total_memory();
  *free = *total - emulated::memory.used;
  return 0;
}

int allocate(Stream*, std::int64_t bytes, void** memory) {
  *memory = nullptr;
  if (bytes <= 0) return kInvalid;
  const std::lock_guard lock(emulated::memory.mutex);
  if (bytes > emulated::total_memory() - emulated::memory.used) return kOutOfMemory;
  const auto size = static_cast<std::size_t>(bytes);
  *memory = std::aligned_alloc(256, (size + 255) / 256 * 256);
  if (*memory == nullptr) return kOutOfMemory;
  std::memset(*memory, 0xff, size);
  emulated::memory.blocks.emplace(static_cast<const char*>(*memory), bytes);
  emulated::memory.used += bytes;
  return 0;
}

int release(Stream*, void* memory) {
  if (memory == nullptr) return 0;
  const std::lock_guard lock(emulated::memory.mutex);
  const auto block = emulated::memory.blocks.find(static_cast<const char*>(memory));
  if (block == emulated::memory.blocks.end()) return emulated::kInvalidValue;
  emulated::memory.used -= block->second;
  emulated::memory.blocks.erase(block);
  std::free(memory);
  return 0;
}

int upload(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (const int lost = emulated::lost(); lost != 0) return lost;
  if (!emulated::is_device_memory(to, bytes)) return emulated::kInvalidValue;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int download(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (!emulated::is_device_memory(from, bytes)) return emulated::kInvalidValue;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int copy(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (!emulated::is_device_memory(to, bytes) || !emulated::is_device_memory(from, bytes)) return emulated::kInvalidValue;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int zero(Stream*, void* at, std::int64_t bytes) {
  if (!emulated::is_device_memory(at, bytes)) return emulated::kInvalidValue;
  std::memset(at, 0, static_cast<std::size_t>(bytes));
  return 0;
}

int finish(Stream*) { return 0; }

std::int64_t launches() { return static_cast<std::int64_t>(dev::launches); }

const char* error_text(int status) {
  switch (status) {
    case 0: return "no error";
    case kInvalid: return "arguments that no kernel serves";
    case kOutOfMemory: return "out of memory";
    case emulated::kInvalidValue: return "invalid argument";
    case emulated::kLaunchFailure: return "unspecified launch failure";
    case emulated::kInvalidDevice: return "invalid device ordinal";
    default: return "an error that the emulator does not know";
  }
}

}  // namespace cones::cuda
