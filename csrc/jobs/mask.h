// Concept neurons as jobs take them: a mask per batch row.
#pragma once

#include <memory>
#include <vector>

#include "ops/concept_mask.h"
#include "model/model.h"

namespace cones::jobs {

/// A mask serves only the model that made it, and does not keep that model's weights in memory.
struct ModelMask {
  std::weak_ptr<const Model> model;
  ConceptMask mask;
};

/// indices: sorted, per K-V tensor of the model.
std::shared_ptr<const ModelMask> make_mask(const std::shared_ptr<const Model>& model,
                                           const std::vector<std::vector<std::uint32_t>>& indices,
                                           const std::atomic<bool>& aborted);

/// One per batch row, null for the base weights; empty for the base weights everywhere.
using MaskRows = std::vector<std::shared_ptr<const ConceptMask>>;
std::vector<const ConceptMask*> mask_pointers(const MaskRows& rows);

}  // namespace cones::jobs
