// NativeAdapter: what an adapter adds to one model's layers.
#pragma once

#include <napi.h>

#include <memory>

#include "jobs/adapter.h"
#include "model/model.h"

namespace cones::addon {

class NativeAdapter : public Napi::ObjectWrap<NativeAdapter> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createAdapter constructs it, with an External<std::shared_ptr<const jobs::ModelAdapter>>.
  explicit NativeAdapter(const Napi::CallbackInfo& info);
  static Napi::Value make(Napi::Env env, std::shared_ptr<const jobs::ModelAdapter> adapter);

  /// Null once it was disposed.
  const std::shared_ptr<const jobs::ModelAdapter>& adapter() const { return adapter_; }

  static constexpr napi_type_tag kTag{0x6b21f0c94d7e4a83, 0x9c5ad2e1873f46b0};

 private:
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<const jobs::ModelAdapter> adapter_;
};

/// createAdapter's argument.
jobs::AdapterLayers adapter_layers(const Napi::Value& value);

/// A list of { adapter, weight }; CONES_ADAPTER_MISMATCH for one of another model, CONES_DISPOSED for one that was disposed.
std::vector<AdapterUse> adapter_uses(const Napi::Value& value, const char* key, const Model& model);
/// The optional array of such lists, or null, one per batch row; empty when absent.
AdapterRows adapter_rows(const Napi::Object& object, const char* key, index_t batch, const Model& model);

}  // namespace cones::addon
