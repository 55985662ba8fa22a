#include "ops/concept_mask.h"

#include <string>

#include "base/error.h"

namespace cones {

ConceptMask::ConceptMask(const Context& context, const std::vector<const KvWeights*>& tensors,
                         const std::vector<std::vector<std::uint32_t>>& indices)
    : prepared_(tensors.size()) {
  if (indices.size() != tensors.size())
    fail("CONES_OPTION_INVALID", "A mask needs one index list per K-V tensor: got " + std::to_string(indices.size()) +
                                     ", the model has " + std::to_string(tensors.size()) + ".");
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& list = indices[t];
    if (list.empty()) continue;
    const KvWeights& weights = *tensors[t];
    const auto size = static_cast<std::uint64_t>(weights.parameter().size());
    for (std::size_t i = 0; i < list.size(); ++i)
      if (list[i] >= size || (i > 0 && list[i] <= list[i - 1]))
        fail("CONES_OPTION_INVALID", "The indices for " + weights.parameter().name +
                                         " must be strictly increasing and below " + std::to_string(size) + ".");
    prepared_[t] = context.backend->prepare_mask(context, weights.out(), weights.in(), list);
    size_ += static_cast<index_t>(list.size());
  }
}

}  // namespace cones
