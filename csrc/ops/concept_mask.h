// A concept: the K-V weights that are shut (M = 0 in the paper), as the backend's kernels read it.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/kv_project.h"

namespace cones {

class ConceptMask {
 public:
  /// indices[i]: sorted flat indices of the shut weights of tensors[i], W [out, in] row-major.
  /// Unsorted, repeated or out-of-range indices are CONES_OPTION_INVALID.
  ConceptMask(const Context& context, const std::vector<const KvWeights*>& tensors,
              const std::vector<std::vector<std::uint32_t>>& indices);

  /// Null where no weight of this tensor is shut.
  const Prepared* prepared(int kv_index) const { return prepared_[static_cast<std::size_t>(kv_index)].get(); }
  /// Number of shut weights.
  index_t size() const { return size_; }

 private:
  std::vector<PreparedRef> prepared_;  // by K-V index
  index_t size_ = 0;
};

}  // namespace cones
