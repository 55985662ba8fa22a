// NativeMask: concept neurons of one model, immutable.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "concepts/mask.h"
#include "model/model.h"

namespace cones::addon {

/// A mask serves only the model that made it, and does not keep that model's weights in memory.
struct ModelMask {
  std::weak_ptr<const Model> model;
  ConceptMask mask;
};

class NativeMask : public Napi::ObjectWrap<NativeMask> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createMask constructs it, with an External<std::shared_ptr<const ModelMask>>.
  explicit NativeMask(const Napi::CallbackInfo& info);
  static Napi::Value make(Napi::Env env, std::shared_ptr<const ModelMask> mask);

  const std::shared_ptr<const ModelMask>& mask() const { return mask_; }

  /// Tells these objects from all others; `instanceof` would believe a prototype.
  static constexpr napi_type_tag kTag{0x2d8a0e5b7c934f61, 0xb1f6473d58c24ea9};

 private:
  Napi::Value size(const Napi::CallbackInfo& info);

  std::shared_ptr<const ModelMask> mask_;
};

/// The optional array of NativeMask | null, one per batch row; empty when absent. A mask of another model is
/// CONES_CONCEPT_MISMATCH.
using MaskRows = std::vector<std::shared_ptr<const ConceptMask>>;
MaskRows mask_rows(const Napi::Object& object, const char* key, index_t batch, const Model& model);
std::vector<const ConceptMask*> mask_pointers(const MaskRows& rows);

}  // namespace cones::addon
