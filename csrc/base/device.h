// A device's memory: where tensors lie, and how bytes get there and back. (What a device computes: device/backend.h.)
#pragma once

#include <cstddef>

namespace cones {

/// Work and copies on a device happen in the order in which they were asked for: it has one stream. All sizes are in bytes.
class Device {
 public:
  virtual ~Device() = default;

  /// Whether the processor can use its pointers.
  virtual bool host() const = 0;
  /// What refused memory, for messages: "The operating system", "The GPU NVIDIA H100".
  virtual const char* name() const = 0;

  /// At least 64-byte aligned, uninitialised; null when there is no more.
  virtual void* allocate(std::size_t size) = 0;
  virtual void release(void* block) = 0;

  /// Between the host's memory and the device's. On return `from` may change (upload) and `to` is there (download).
  virtual void upload(void* to, const void* from, std::size_t size) = 0;
  virtual void download(void* to, const void* from, std::size_t size) = 0;
  /// Within the device; the ranges do not overlap.
  virtual void copy(void* to, const void* from, std::size_t size) = 0;
  virtual void zero(void* block, std::size_t size) = 0;
  /// Waits for everything that was asked for.
  virtual void finish() = 0;
};

/// The processor and its memory; one for all.
Device& host_device();

}  // namespace cones
