// The functions of cuda/device.h for the emulator: device memory is host memory that starts as NaN, and that nobody can touch but
// kernels and copies: host code that does ends the program, as it does beside a card. Whoever copies to or from anything else is
// told so. CONES_CUDA_EMULATED_MEMORY: the device's bytes (default 8 GiB); CONES_CUDA_EMULATED_LOST: uploads fail.
// Included once, by cuda/device.cu.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "device.h"
#include "emulator.h"

namespace cones::cuda {
namespace emulated {

constexpr std::int64_t kPage = 4096;
constexpr std::int64_t pages(std::int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// cudaErrorInvalidValue, cudaErrorInvalidDevice, cudaErrorLaunchFailure
constexpr int kInvalidValue = 1, kInvalidDevice = 101, kLaunchFailure = 719;

/// The one device's memory: a range of addresses, and what is allocated in it.
struct Memory {
  std::mutex mutex;
  char* begin = nullptr;                   // of pages
  std::int64_t size = 0, reached = 0;      // reserved; of it what was ever allocated
  std::map<const char*, std::int64_t> blocks;
  std::int64_t used = 0;
  int working = 0;  // copies and launches under way
};
inline Memory memory;

inline void protect(int how) {
  if (memory.reached > 0 && mprotect(memory.begin, static_cast<std::size_t>(memory.reached), how) != 0) std::abort();
}
inline void begin_work() {
  const std::lock_guard lock(memory.mutex);
  if (memory.working++ == 0) protect(PROT_READ | PROT_WRITE);
}
inline void end_work() {
  const std::lock_guard lock(memory.mutex);
  if (--memory.working == 0) protect(PROT_NONE);
}
/// While one lives, device memory can be touched.
struct Working {
  Working() { begin_work(); }
  ~Working() { end_work(); }
  Working(const Working&) = delete;
};
inline const bool kernels_work = (dev::begin_work = &begin_work, dev::end_work = &end_work, true);

/// cudaErrorLaunchFailure, from the moment on at which CONES_CUDA_EMULATED_LOST is set.
inline int lost() { return std::getenv("CONES_CUDA_EMULATED_LOST") != nullptr ? kLaunchFailure : 0; }

inline std::int64_t total_memory() {
  const char* text = std::getenv("CONES_CUDA_EMULATED_MEMORY");
  return text != nullptr ? std::atoll(text) : std::int64_t{8} << 30;
}

/// Where `bytes` are free, or null. A block is whole pages, so that nothing of another's lies beside it.
inline char* find_room(std::int64_t bytes) {
  if (memory.begin == nullptr) {
    memory.size = 4 * total_memory();  // of addresses, which cost nothing: blocks of all sizes come and go
    void* const range = mmap(nullptr, static_cast<std::size_t>(memory.size), PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) return nullptr;
    memory.begin = static_cast<char*>(range);
  }
  char* free = memory.begin;
  for (const auto& [begin, size] : memory.blocks) {
    if (free + bytes <= begin) return free;
    free = const_cast<char*>(begin) + pages(size);
  }
  return free + bytes <= memory.begin + memory.size ? free : nullptr;
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
  char* const block = emulated::find_room(bytes);
  if (block == nullptr) return kOutOfMemory;
  const auto size = static_cast<std::size_t>(emulated::pages(bytes));
  if (mprotect(block, size, PROT_READ | PROT_WRITE) != 0) return kOutOfMemory;
  std::memset(block, 0xff, size);
  if (emulated::memory.working == 0 && mprotect(block, size, PROT_NONE) != 0) return kOutOfMemory;
  emulated::memory.blocks.emplace(block, bytes);
  emulated::memory.used += bytes;
  emulated::memory.reached = std::max(emulated::memory.reached, block + emulated::pages(bytes) - emulated::memory.begin);
  *memory = block;
  return 0;
}

int release(Stream*, void* memory) {
  if (memory == nullptr) return 0;
  const std::lock_guard lock(emulated::memory.mutex);
  const auto block = emulated::memory.blocks.find(static_cast<const char*>(memory));
  if (block == emulated::memory.blocks.end()) return emulated::kInvalidValue;
  emulated::memory.used -= block->second;
  madvise(memory, static_cast<std::size_t>(emulated::pages(block->second)), MADV_DONTNEED);
  emulated::memory.blocks.erase(block);
  return 0;
}

int upload(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (const int lost = emulated::lost(); lost != 0) return lost;
  if (!emulated::is_device_memory(to, bytes)) return emulated::kInvalidValue;
  const emulated::Working working;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int download(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (!emulated::is_device_memory(from, bytes)) return emulated::kInvalidValue;
  const emulated::Working working;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int copy(Stream*, void* to, const void* from, std::int64_t bytes) {
  if (!emulated::is_device_memory(to, bytes) || !emulated::is_device_memory(from, bytes)) return emulated::kInvalidValue;
  const emulated::Working working;
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return 0;
}

int zero(Stream*, void* at, std::int64_t bytes) {
  if (!emulated::is_device_memory(at, bytes)) return emulated::kInvalidValue;
  const emulated::Working working;
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
