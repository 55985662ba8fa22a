#include "addon/arguments.h"

#include <algorithm>
#include <cmath>

#include "addon/instance.h"

namespace cones::addon {
namespace {

template <class T>
struct ArrayType;
template <>
struct ArrayType<float> {
  static constexpr napi_typedarray_type value = napi_float32_array;
  static constexpr const char* name = "Float32Array";
};
template <>
struct ArrayType<double> {
  static constexpr napi_typedarray_type value = napi_float64_array;
  static constexpr const char* name = "Float64Array";
};
template <>
struct ArrayType<std::int32_t> {
  static constexpr napi_typedarray_type value = napi_int32_array;
  static constexpr const char* name = "Int32Array";
};
template <>
struct ArrayType<std::uint32_t> {
  static constexpr napi_typedarray_type value = napi_uint32_array;
  static constexpr const char* name = "Uint32Array";
};
template <>
struct ArrayType<std::uint64_t> {
  static constexpr napi_typedarray_type value = napi_biguint64_array;
  static constexpr const char* name = "BigUint64Array";
};

Napi::Array array(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) invalid(value.Env(), std::string(name) + " must be an array.");
  return value.As<Napi::Array>();
}

std::int64_t whole(double value, Napi::Env env, const char* name, std::int64_t low, std::int64_t high) {
  if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)) || value != std::floor(value))
    invalid(env, std::string(name) + " must be a whole number from " + std::to_string(low) + " to " +
                     std::to_string(high) + ".");
  return static_cast<std::int64_t>(value);
}

}  // namespace

void invalid(Napi::Env env, const std::string& message) { throw make_error(env, "CONES_OPTION_INVALID", message); }

Napi::Object options_of(const Napi::CallbackInfo& info, std::size_t i) {
  if (!info[i].IsObject()) invalid(info.Env(), "An options object is missing.");
  return info[i].As<Napi::Object>();
}

bool has(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return !value.IsUndefined() && !value.IsNull();
}

double number(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue()))
    invalid(object.Env(), std::string(key) + " must be a finite number.");
  return value.As<Napi::Number>().DoubleValue();
}

std::int64_t integer(const Napi::Object& object, const char* key, std::int64_t low, std::int64_t high) {
  return whole(number(object, key), object.Env(), key, low, high);
}

bool boolean(const Napi::Object& object, const char* key, bool fallback) {
  return has(object, key) ? object.Get(key).ToBoolean().Value() : fallback;
}

Checkpointing checkpointing(const Napi::Object& object) {
  const Napi::Value value = object.Get("checkpointing");
  if (value.IsString() && value.As<Napi::String>().Utf8Value() == "light") return Checkpointing::light;
  return boolean(object, "checkpointing") ? Checkpointing::layers : Checkpointing::none;
}

std::string text(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) invalid(object.Env(), std::string(key) + " must be a string.");
  return value.As<Napi::String>().Utf8Value();
}

std::uint64_t seed(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBigInt()) invalid(object.Env(), std::string(key) + " must be a bigint.");
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

std::vector<std::string> strings(const Napi::Object& object, const char* key) {
  const Napi::Array list = array(object.Get(key), key);
  std::vector<std::string> values;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value value = list.Get(i);
    if (!value.IsString()) invalid(object.Env(), std::string(key) + " must hold strings.");
    values.push_back(value.As<Napi::String>().Utf8Value());
  }
  return values;
}

std::vector<std::int64_t> wholes(const Napi::Object& object, const char* key, std::int64_t low, std::int64_t high) {
  const Napi::Array list = array(object.Get(key), key);
  std::vector<std::int64_t> values;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value value = list.Get(i);
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
    values.push_back(whole(number, object.Env(), key, low, high));
  }
  return values;
}

std::vector<int> integers(const Napi::Object& object, const char* key, int low, int high) {
  const std::vector<std::int64_t> values = wholes(object, key, low, high);
  return std::vector<int>(values.begin(), values.end());
}

std::vector<bool> booleans(const Napi::Object& object, const char* key) {
  const Napi::Array list = array(object.Get(key), key);
  std::vector<bool> values;
  for (std::uint32_t i = 0; i < list.Length(); ++i) values.push_back(Napi::Value(list.Get(i)).ToBoolean().Value());
  return values;
}

Napi::Object object(const Napi::Object& parent, const char* key) {
  const Napi::Value value = parent.Get(key);
  if (!value.IsObject()) invalid(parent.Env(), std::string(key) + " must be an object.");
  return value.As<Napi::Object>();
}

Napi::Function callback(const Napi::Object& object, const char* key) {
  if (!has(object, key)) return {};
  const Napi::Value value = object.Get(key);
  if (!value.IsFunction()) invalid(object.Env(), std::string(key) + " must be a function.");
  return value.As<Napi::Function>();
}

NativeAbort* abort_option(const Napi::Object& object) {
  if (!has(object, "abort")) return nullptr;
  const Napi::Value value = object.Get("abort");
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&NativeAbort::kTag))
    invalid(object.Env(), "abort must be a NativeAbort.");
  return NativeAbort::Unwrap(value.As<Napi::Object>());
}

template <class T>
std::vector<T> elements(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != ArrayType<T>::value)
    invalid(value.Env(), std::string(name) + " must be a " + ArrayType<T>::name + ".");
  const auto typed = value.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(typed.Data(), typed.Data() + typed.ElementLength());
}

template std::vector<float> elements(const Napi::Value&, const char*);
template std::vector<double> elements(const Napi::Value&, const char*);
template std::vector<std::int32_t> elements(const Napi::Value&, const char*);
template std::vector<std::uint32_t> elements(const Napi::Value&, const char*);
template std::vector<std::uint64_t> elements(const Napi::Value&, const char*);

std::vector<std::vector<std::uint32_t>> index_lists(const Napi::Value& value, const char* name) {
  const Napi::Array list = array(value, name);
  std::vector<std::vector<std::uint32_t>> lists;
  for (std::uint32_t i = 0; i < list.Length(); ++i) lists.push_back(elements<std::uint32_t>(list.Get(i), name));
  return lists;
}

Napi::Value hand_over(Napi::Env env, const Tensor& tensor) {
  const auto owner = std::make_shared<const Tensor>(tensor);
  return hand_over(env, owner->host(), static_cast<std::size_t>(owner->size()), owner);
}

}  // namespace cones::addon
