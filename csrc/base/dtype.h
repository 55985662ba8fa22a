// Types of a tensor's elements.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cones {

enum class DType { f32, f16, bf16 };

/// Bytes per element.
constexpr std::size_t dtype_size(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

/// `count` elements of one type as fp32; exact.
void widen(DType from, const void* in, std::size_t count, float* out);
/// fp32 values as another type, rounded to the nearest, ties to even.
void narrow(const float* in, std::size_t count, DType to, void* out);

}  // namespace cones
