// NativeMask: concept neurons of one model, immutable.
#pragma once

#include <napi.h>

#include <memory>

#include "jobs/mask.h"
#include "model/model.h"

namespace cones::addon {

class NativeMask : public Napi::ObjectWrap<NativeMask> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createMask constructs it, with an External<std::shared_ptr<const jobs::ModelMask>>.
  explicit NativeMask(const Napi::CallbackInfo& info);
  static Napi::Value make(Napi::Env env, std::shared_ptr<const jobs::ModelMask> mask);

  const std::shared_ptr<const jobs::ModelMask>& mask() const { return mask_; }

  /// Tells these objects from all others; `instanceof` would believe a prototype.
  static constexpr napi_type_tag kTag{0x2d8a0e5b7c934f61, 0xb1f6473d58c24ea9};

 private:
  Napi::Value size(const Napi::CallbackInfo& info);

  std::shared_ptr<const jobs::ModelMask> mask_;
};

/// The optional array of NativeMask | null, one per batch row; empty when absent. A mask of another model is
/// CONES_CONCEPT_MISMATCH.
jobs::MaskRows mask_rows(const Napi::Object& object, const char* key, index_t batch, const Model& model);

}  // namespace cones::addon
