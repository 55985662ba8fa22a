// Reads JavaScript arguments. lib/ has validated them for users; what is checked here keeps a wrong call from crashing.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "addon/abort.h"
#include "base/tensor.h"
#include "ops/tape.h"

namespace cones::addon {

/// Throws a JavaScript error CONES_OPTION_INVALID.
[[noreturn]] void invalid(Napi::Env env, const std::string& message);

/// The i-th argument, which must be an object.
Napi::Object options_of(const Napi::CallbackInfo& info, std::size_t i = 0);

bool has(const Napi::Object& object, const char* key);
double number(const Napi::Object& object, const char* key);
/// A whole number in [low, high].
std::int64_t integer(const Napi::Object& object, const char* key, std::int64_t low, std::int64_t high);
bool boolean(const Napi::Object& object, const char* key, bool fallback = false);
/// `checkpointing`: a boolean or 'light'; none when absent.
Checkpointing checkpointing(const Napi::Object& object);
std::string text(const Napi::Object& object, const char* key);
std::uint64_t seed(const Napi::Object& object, const char* key);
std::vector<std::string> strings(const Napi::Object& object, const char* key);
/// Whole numbers in [low, high].
std::vector<std::int64_t> wholes(const Napi::Object& object, const char* key, std::int64_t low, std::int64_t high);
std::vector<int> integers(const Napi::Object& object, const char* key, int low, int high);
std::vector<bool> booleans(const Napi::Object& object, const char* key);
Napi::Object object(const Napi::Object& parent, const char* key);
/// Empty when absent.
Napi::Function callback(const Napi::Object& object, const char* key);
/// Null when absent.
NativeAbort* abort_option(const Napi::Object& object);

/// A copy of a typed array's elements; the array must be of exactly this type.
template <class T>
std::vector<T> elements(const Napi::Value& value, const char* name);
template <class T>
std::vector<T> elements(const Napi::Object& object, const char* key) {
  return elements<T>(object.Get(key), key);
}
/// An array of Uint32Arrays.
std::vector<std::vector<std::uint32_t>> index_lists(const Napi::Value& value, const char* name);

/// A new typed array with a copy of `size` values.
template <class T>
Napi::Value to_array(Napi::Env env, const T* values, std::size_t size) {
  auto array = Napi::TypedArrayOf<T>::New(env, size);
  std::copy_n(values, size, array.Data());
  return array;
}
template <class T>
Napi::Value to_array(Napi::Env env, const std::vector<T>& values) {
  return to_array(env, values.data(), values.size());
}

/// A typed array (a Uint8Array of bytes) of the `size` values themselves, which live as long as `owner`: copies of a large
/// model's gradients would hold up the JavaScript thread. A copy where they are few, or the runtime allows nothing else
/// (Electron).
template <class T>
Napi::Value hand_over(Napi::Env env, T* values, std::size_t size, std::shared_ptr<const void> owner) {
  using Element = std::conditional_t<std::is_same_v<T, std::byte>, std::uint8_t, T>;
  constexpr std::size_t kMany = (std::size_t{64} << 10) / sizeof(T);
  if (size >= kMany) {
    using Owner = std::shared_ptr<const void>;
    auto held = std::make_unique<Owner>(std::move(owner));
    const auto release = [](napi_env, void*, void* hint) { delete static_cast<Owner*>(hint); };
    napi_value buffer = nullptr;
    if (napi_create_external_arraybuffer(env, values, size * sizeof(T), release, held.get(), &buffer) == napi_ok) {
      static_cast<void>(held.release());
      return Napi::TypedArrayOf<Element>::New(env, size, Napi::ArrayBuffer(env, buffer), 0);
    }
    owner = std::move(*held);
  }
  return to_array(env, reinterpret_cast<const Element*>(values), size);
}
template <class T>
Napi::Value hand_over(Napi::Env env, std::vector<T> values) {
  const auto owner = std::make_shared<std::vector<T>>(std::move(values));
  return hand_over(env, owner->data(), owner->size(), owner);
}
/// A Float32Array of the tensor's elements, which JavaScript keeps alive: give the tensor away before (Tensor::give_away).
Napi::Value hand_over(Napi::Env env, const Tensor& tensor);

}  // namespace cones::addon
