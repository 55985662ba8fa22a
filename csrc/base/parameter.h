// A frozen weight as it lies in the model's memory-mapped safetensors.
#pragma once

#include <cstddef>
#include <string>

#include "base/tensor.h"

namespace cones {

enum class DType { f32, f16, bf16 };

/// Bytes per element.
std::size_t dtype_size(DType dtype);

struct Parameter {
  std::string name;    // as in diffusers: "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight"
  Shape shape;         // as in PyTorch: linear [out, in], convolution [out, in, kh, kw]
  DType dtype = DType::f32;
  const std::byte* bytes = nullptr;  // not necessarily aligned

  index_t size() const { return shape.size(); }
  /// Elements [begin, end) as fp32.
  void read(index_t begin, index_t end, float* out) const;
};

}  // namespace cones
