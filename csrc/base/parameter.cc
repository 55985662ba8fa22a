#include "base/parameter.h"

#include <bit>
#include <cstring>

namespace cones {
namespace {

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {  // zero and subnormals: mantissa × 2⁻²⁴, exact in fp32
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace

std::size_t dtype_size(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

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
  if (dtype == DType::f32) return;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, source + 2 * i, 2);
    out[i] = dtype == DType::bf16 ? from_bf16(bits) : from_f16(bits);
  }
}

}  // namespace cones
