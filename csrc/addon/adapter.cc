#include "addon/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "addon/arguments.h"
#include "addon/instance.h"

namespace cones::addon {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 31;

std::optional<jobs::AdapterTensor> tensor_of(const Napi::Object& layer, const char* key) {
  if (!has(layer, key)) return std::nullopt;
  const Napi::Object o = object(layer, key);
  const Napi::Env env = layer.Env();
  jobs::AdapterTensor tensor;
  const std::string dtype = text(o, "dtype");
  if (dtype != "F32" && dtype != "F16" && dtype != "BF16") invalid(env, "dtype must be F32, F16 or BF16.");
  tensor.dtype = dtype == "F32" ? DType::f32 : dtype == "F16" ? DType::f16 : DType::bf16;
  const auto shape = wholes(o, "shape", 1, kMostElements);
  std::int64_t size = 1;
  for (const std::int64_t dim : shape)
    if (__builtin_mul_overflow(size, dim, &size) || size > kMostElements) invalid(env, "A tensor of an adapter is too large.");
  if (shape.size() == 1) tensor.shape = {shape[0]};
  else if (shape.size() == 2) tensor.shape = {shape[0], shape[1]};
  else if (shape.size() == 4) tensor.shape = {shape[0], shape[1], shape[2], shape[3]};
  else invalid(env, "An adapter's tensor has one, two or four dimensions.");
  const Napi::Value data = o.Get("data");
  if (!data.IsTypedArray() || data.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) invalid(env, "data must be a Uint8Array.");
  const auto bytes = data.As<Napi::Uint8Array>();
  if (bytes.ByteLength() != static_cast<std::size_t>(size) * dtype_size(tensor.dtype)) invalid(env, "data must have as many bytes as the shape says.");
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.Data());
  tensor.bytes = std::make_shared<const std::vector<std::byte>>(begin, begin + bytes.ByteLength());
  return tensor;
}

}  // namespace

Napi::Function NativeAdapter::define(Napi::Env env) {
  return DefineClass(env, "NativeAdapter",
                     {InstanceAccessor("bytes", &NativeAdapter::bytes, nullptr), InstanceMethod("dispose", &NativeAdapter::dispose)});
}

NativeAdapter::NativeAdapter(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeAdapter is made by createAdapter().");
  info.This().As<Napi::Object>().TypeTag(&kTag);
  adapter_ = *info[0].As<Napi::External<std::shared_ptr<const jobs::ModelAdapter>>>().Data();
}

Napi::Value NativeAdapter::make(Napi::Env env, std::shared_ptr<const jobs::ModelAdapter> adapter) {
  return Instance::of(env).adapter_class.New({Napi::External<std::shared_ptr<const jobs::ModelAdapter>>::New(env, &adapter)});
}

Napi::Value NativeAdapter::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), adapter_ ? static_cast<double>(adapter_->bytes) : 0);
}

Napi::Value NativeAdapter::dispose(const Napi::CallbackInfo& info) {
  adapter_ = nullptr;  // drawings under way hold what they need
  return info.Env().Undefined();
}

jobs::AdapterLayers adapter_layers(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsArray()) invalid(env, "layers must be an array.");
  const auto list = value.As<Napi::Array>();
  jobs::AdapterLayers layers;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value entry = list.Get(i);
    if (!entry.IsObject()) invalid(env, "layers must hold objects.");
    const auto o = entry.As<Napi::Object>();
    jobs::AdapterLayer layer;
    layer.of_text = text(o, "part") == "text";
    layer.name = text(o, "name");
    layer.scale = has(o, "scale") ? number(o, "scale") : 1;
    layer.down = tensor_of(o, "down");
    layer.up = tensor_of(o, "up");
    layer.weight = tensor_of(o, "weight");
    layer.bias = tensor_of(o, "bias");
    if (layer.weight ? layer.down || layer.up : !layer.down || !layer.up || layer.bias)
      invalid(env, "A layer has down and up, or weight and perhaps bias.");
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::vector<AdapterUse> adapter_uses(const Napi::Value& value, const char* key, const Model& model) {
  const Napi::Env env = value.Env();
  if (!value.IsArray()) invalid(env, std::string(key) + " must hold lists of adapters and weights.");
  const auto list = value.As<Napi::Array>();
  std::vector<AdapterUse> uses;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value entry = list.Get(i);
    if (!entry.IsObject()) invalid(env, std::string(key) + " must hold adapters with their weights.");
    const auto o = entry.As<Napi::Object>();
    const Napi::Object adapter = object(o, "adapter");
    if (!adapter.CheckTypeTag(&NativeAdapter::kTag)) invalid(env, "adapter must be a NativeAdapter.");
    const auto& own = NativeAdapter::Unwrap(adapter)->adapter();
    if (!own) throw make_error(env, "CONES_DISPOSED", "An adapter was disposed. Load it again.");
    if (own->model.lock().get() != &model)
      throw make_error(env, "CONES_ADAPTER_MISMATCH", "An adapter was loaded by another engine. Load it with this one.");
    const auto weight = static_cast<float>(number(o, "weight"));
    if (!std::isfinite(weight)) invalid(env, "weight must be a number of 32 bits.");
    uses.push_back({own->adapter, weight});
  }
  return uses;
}

AdapterRows adapter_rows(const Napi::Object& object, const char* key, index_t batch, const Model& model) {
  AdapterRows rows;
  if (!has(object, key)) return rows;
  const Napi::Value value = object.Get(key);
  if (!value.IsArray() || static_cast<index_t>(value.As<Napi::Array>().Length()) != batch)
    invalid(object.Env(), std::string(key) + " must have one list or null per batch row.");
  const auto list = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value entry = list.Get(i);
    rows.push_back(entry.IsNull() ? std::vector<AdapterUse>() : adapter_uses(entry, key, model));
  }
  return rows;
}

}  // namespace cones::addon
