#include "jobs/mask.h"

namespace cones::jobs {

std::shared_ptr<const ModelMask> make_mask(const std::shared_ptr<const Model>& model,
                                           const std::vector<std::vector<std::uint32_t>>& indices,
                                           const std::atomic<bool>& aborted) {
  return std::make_shared<const ModelMask>(
      ModelMask{model, ConceptMask(model->context(&aborted), model->unet().kv_tensors(), indices)});
}

std::vector<const ConceptMask*> mask_pointers(const MaskRows& rows) {
  std::vector<const ConceptMask*> pointers;
  for (const auto& row : rows) pointers.push_back(row.get());
  return pointers;
}

}  // namespace cones::jobs
