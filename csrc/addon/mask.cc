#include "addon/mask.h"

#include "addon/arguments.h"
#include "addon/instance.h"

namespace cones::addon {

Napi::Function NativeMask::define(Napi::Env env) {
  return DefineClass(env, "NativeMask", {InstanceAccessor("size", &NativeMask::size, nullptr)});
}

NativeMask::NativeMask(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeMask is made by createMask().");
  info.This().As<Napi::Object>().TypeTag(&kTag);
  mask_ = *info[0].As<Napi::External<std::shared_ptr<const jobs::ModelMask>>>().Data();
}

Napi::Value NativeMask::make(Napi::Env env, std::shared_ptr<const jobs::ModelMask> mask) {
  return Instance::of(env).mask_class.New({Napi::External<std::shared_ptr<const jobs::ModelMask>>::New(env, &mask)});
}

Napi::Value NativeMask::size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(mask_->mask.size()));
}

jobs::MaskRows mask_rows(const Napi::Object& object, const char* key, index_t batch, const Model& model) {
  jobs::MaskRows rows;
  if (!has(object, key)) return rows;
  const Napi::Env env = object.Env();
  const Napi::Value value = object.Get(key);
  if (!value.IsArray() || static_cast<index_t>(value.As<Napi::Array>().Length()) != batch)
    invalid(env, std::string(key) + " must have one mask or null per batch row.");
  const auto list = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value entry = list.Get(i);
    if (entry.IsNull()) {
      rows.push_back(nullptr);
      continue;
    }
    if (!entry.IsObject() || !entry.As<Napi::Object>().CheckTypeTag(&NativeMask::kTag))
      invalid(env, std::string(key) + " must hold masks or null.");
    const auto& mask = NativeMask::Unwrap(entry.As<Napi::Object>())->mask();
    if (mask->model.lock().get() != &model)
      throw make_error(env, "CONES_CONCEPT_MISMATCH", "A mask was made by another engine. Make it with this one.");
    rows.emplace_back(mask, &mask->mask);
  }
  return rows;
}

}  // namespace cones::addon
