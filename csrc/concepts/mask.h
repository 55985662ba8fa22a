// A concept: the K-V weights that are shut (M = 0 in the paper), kept as bits in the order in which kernels read weights.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ops/gemm.h"
#include "ops/kv_project.h"

namespace cones {

class ConceptMask {
 public:
  /// indices[i]: sorted flat indices of the shut weights of tensors[i], W [out, in] row-major.
  /// Unsorted, repeated or out-of-range indices are CONES_OPTION_INVALID.
  ConceptMask(const Context& context, const std::vector<const KvWeights*>& tensors,
              const std::vector<std::vector<std::uint32_t>>& indices);

  /// Null where no weight of this tensor is shut.
  const PackedMask* packed(int kv_index) const { return packed_[static_cast<std::size_t>(kv_index)].get(); }
  std::span<const std::uint32_t> indices(int kv_index) const { return indices_[static_cast<std::size_t>(kv_index)]; }
  /// Number of shut weights.
  index_t size() const { return size_; }

 private:
  std::vector<std::unique_ptr<PackedMask>> packed_;
  std::vector<std::vector<std::uint32_t>> indices_;
  index_t size_ = 0;
};

}  // namespace cones
