#include "base/parameter.h"

#include <cstring>

namespace cones {

ReadBytes read_memory(const void* bytes) {
  return [from = static_cast<const std::byte*>(bytes)](std::uint64_t offset, std::span<std::byte> out) {
    std::memcpy(out.data(), from + offset, out.size());
  };
}

void Parameter::read(index_t begin, index_t end, float* out) const {
  const auto count = static_cast<std::size_t>(end - begin);
  const std::size_t size = count * dtype_size(dtype);
  // Narrow elements are read into the upper half of their place and widened from the front: none is overwritten unread.
  std::byte* const source = reinterpret_cast<std::byte*>(out) + count * sizeof(float) - size;
  bytes(static_cast<std::uint64_t>(begin) * dtype_size(dtype), {source, size});
  if (dtype != DType::f32) widen(dtype, source, count, out);
}

void Parameter::read_stored(std::span<std::byte> out) const { bytes(0, out); }

}  // namespace cones
