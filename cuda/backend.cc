#include "cuda/backend.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace cones {

CudaDevice::CudaDevice(const cuda::Library& library, int card, const std::string& card_name)
    : library_(library), name_("The GPU " + card_name) {
  if (const int status = library.stream_open(card, &stream_); status != 0)
    fail("CONES_DEVICE_UNAVAILABLE", name_ + " cannot be used: " + library.error_text(status) +
                                         ". Use another device, or free this one.");
  void* counters = nullptr;
  const std::int64_t bytes = cuda::kOuterCounters * static_cast<std::int64_t>(sizeof(int));
  int status = library.allocate(stream_, bytes, &counters);
  if (status == 0) status = library.zero(stream_, counters, bytes);
  counters_ = static_cast<int*>(counters);
  if (status != 0) {
    library.release(stream_, counters);
    library.stream_close(stream_);
    fail("CONES_DEVICE_UNAVAILABLE", name_ + " has no memory left. Use another device, or free this one.");
  }
}

CudaDevice::~CudaDevice() {
  library_.release(stream_, counters_);
  library_.stream_close(stream_);
}

std::shared_ptr<CudaDevice> CudaDevice::open(const cuda::Library& library, int card, const std::string& card_name) {
  return {new CudaDevice(library, card, card_name), [](CudaDevice* device) { device->leave(); }};
}

void CudaDevice::leave() {
  if (--users_ == 0) delete this;
}

void* CudaDevice::allocate(std::size_t size) {
  check(0);
  void* block = nullptr;
  const int status = library_.allocate(stream_, static_cast<std::int64_t>(size), &block);
  if (status == cuda::kOutOfMemory) return nullptr;
  check(status);
  ++users_;
  return block;
}

// A lost device gives nothing back, and has told so elsewhere.
void CudaDevice::release(void* block) {
  static_cast<void>(library_.release(stream_, block));
  leave();
}

void CudaDevice::upload(void* to, const void* from, std::size_t size) {
  check(library_.upload(stream_, to, from, static_cast<std::int64_t>(size)));
}
void CudaDevice::download(void* to, const void* from, std::size_t size) {
  check(library_.download(stream_, to, from, static_cast<std::int64_t>(size)));
}
void CudaDevice::copy(void* to, const void* from, std::size_t size) {
  check(library_.copy(stream_, to, from, static_cast<std::int64_t>(size)));
}
void CudaDevice::zero(void* block, std::size_t size) {
  check(library_.zero(stream_, block, static_cast<std::int64_t>(size)));
}
void CudaDevice::finish() { check(library_.finish(stream_)); }

void CudaDevice::available(std::size_t* free, std::size_t* total) const {
  std::int64_t free_bytes = 0, all = 0;
  check(library_.memory_available(stream_, &free_bytes, &all));
  *free = static_cast<std::size_t>(free_bytes);
  *total = static_cast<std::size_t>(all);
}

void CudaDevice::check(int status) const {
  if (status != 0 && status != cuda::kInvalid && status != cuda::kOutOfMemory) {
    int well = 0;
    lost_.compare_exchange_strong(well, status);
  }
  // What failed once may have left anything behind, also where CUDA itself would go on.
  if (const int lost = lost_; lost != 0)
    fail("CONES_DEVICE_LOST", name_ + " failed: " + library_.error_text(lost) + ". Dispose of this engine and load it again.");
  if (status == 0) return;
  if (status == cuda::kInvalid) fail("CONES_INTERNAL", "Internal error: no CUDA kernel serves these sizes. Please report this.");
  if (status == cuda::kOutOfMemory)
    fail("CONES_OUT_OF_MEMORY", name_ + " has too little memory left. Use a smaller batch or picture, or free memory.");
}

// The largest power of two that leaves out no more than the mean's division: 16,384 for Stable Diffusion's 4 × 64 × 64.
float Cuda::gradient_scale(index_t row) const {
  return static_cast<float>(std::bit_floor(static_cast<std::uint64_t>(std::clamp<index_t>(row, 1, 1 << 14))));
}

Tensor Cuda::upload_words(const Context& context, const void* words, index_t count) const {
  Tensor tensor = context.empty({count}, DType::f32);
  if (device_) device_->upload(tensor.raw(), words, tensor.bytes());
  return tensor;
}

Tensor Cuda::upload_stored(const Context& context, const Parameter& parameter, const Shape& shape) const {
  if (parameter.values.defined()) return parameter.values.reshape(shape);
  Tensor tensor = context.empty(shape, parameter.dtype);
  if (device_) {
    std::vector<std::byte> stored(tensor.bytes());
    parameter.read_stored(stored);
    device_->upload(tensor.raw(), stored.data(), stored.size());
  }
  return tensor;
}

Tensor Cuda::upload_fp32(const Context& context, const Parameter& parameter) const {
  if (parameter.values.defined()) return parameter.values;
  Tensor tensor = context.empty(parameter.shape, DType::f32);
  if (device_) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    parameter.read(0, parameter.size(), values.data());
    device_->upload(tensor.raw(), values.data(), tensor.bytes());
  }
  return tensor;
}

Tensor Cuda::scratch(const Context& context, std::int64_t bytes) const {
  return bytes > 0 ? context.empty({(bytes + 3) / 4}, DType::f32) : Tensor();
}

}  // namespace cones
