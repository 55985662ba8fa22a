// A weight: frozen, as it lies in the model's safetensors, or trained, as it is now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/tensor.h"

namespace cones {

/// Fills `out` with the bytes from `offset` on; may be called from several threads at once.
using ReadBytes = std::function<void(std::uint64_t offset, std::span<std::byte> out)>;
/// Reads from memory, which must outlive the result.
ReadBytes read_memory(const void* bytes);

struct Parameter {
  std::string name;    // as in diffusers: "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight"
  Shape shape;         // as in PyTorch: linear [out, in], convolution [out, in, kh, kw]
  DType dtype = DType::f32;
  ReadBytes bytes;  // those of the weight, as they are stored
  Tensor values{};  // of a weight that is trained: the same on the device, fp32, which changes after every step

  index_t size() const { return shape.size(); }
  /// Elements [begin, end) as fp32. CONES_MODEL_CHANGED and CONES_IO where they come from a file (io/weight_file.h).
  void read(index_t begin, index_t end, float* out) const;
  /// All elements as they are stored: size() · dtype_size(dtype) bytes.
  void read_stored(std::span<std::byte> out) const;
};

}  // namespace cones
