// The addon's entry: what `require('cones.node')` returns (typings/native.d.ts).
#include <napi.h>

#include <cmath>

#include "addon/abort.h"
#include "addon/adapter.h"
#include "addon/arguments.h"
#include "addon/clip.h"
#include "addon/devices.h"
#include "addon/instance.h"
#include "addon/mask.h"
#include "addon/model.h"
#include "addon/search.h"
#include "base/rng.h"

namespace cones::addon {
namespace {

// randomNormal(seed: bigint, offset: number, count: number): Float32Array
Napi::Value random_normal(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsBigInt() || !info[1].IsNumber() || !info[2].IsNumber())
    invalid(env, "randomNormal needs a bigint seed, an offset and a count.");
  bool lossless = false;
  const std::uint64_t seed = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
  const double offset = info[1].As<Napi::Number>().DoubleValue(), count = info[2].As<Napi::Number>().DoubleValue();
  if (!(offset >= 0 && offset <= 0x1p53) || !(count >= 0 && count <= 0x1p31))
    invalid(env, "randomNormal: offset and count must not be negative, nor count above 2^31.");
  auto values = Napi::Float32Array::New(env, static_cast<std::size_t>(count));
  philox_normal(seed, static_cast<std::uint64_t>(offset), values.Data(), static_cast<index_t>(count));
  return values;
}

// readSafetensors(file: string): Promise<NativeTensor[]>
Napi::Value read_safetensors(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) invalid(env, "readSafetensors needs the path of a file.");
  Napi::Object holder = Napi::Object::New(env);
  PromiseQueue* queue = PromiseQueue::owned_by(env, holder);
  return queue->add(env, {.keep = holder}, [path = info[0].As<Napi::String>().Utf8Value()](const std::atomic<bool>&, const Progress&) -> Settle {
    return [entries = parse_safetensors(WeightFile(path))](Napi::Env e) -> Napi::Value {
      Napi::Array list = Napi::Array::New(e, entries.size());
      std::uint32_t i = 0;
      for (const auto& [name, entry] : entries) {
        Napi::Object tensor = Napi::Object::New(e);
        Napi::Array shape = Napi::Array::New(e, entry.shape.size());
        for (std::uint32_t d = 0; d < entry.shape.size(); ++d) shape.Set(d, static_cast<double>(entry.shape[d]));
        tensor.Set("name", name);
        tensor.Set("dtype", entry.dtype);
        tensor.Set("shape", shape);
        tensor.Set("file", 0.0);
        tensor.Set("offset", static_cast<double>(entry.offset));
        list.Set(i++, tensor);
      }
      return list;
    };
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* instance = new Instance(env);
  env.SetInstanceData(instance);
  const auto define = [&](Napi::FunctionReference& reference, Napi::Function function) {
    reference = Napi::Persistent(function);
    return function;
  };
  define(instance->adapter_class, NativeAdapter::define(env));
  define(instance->clip_class, NativeClip::define(env));
  define(instance->model_class, NativeModel::define(env));
  define(instance->search_class, NativeSearch::define(env));
  define(instance->mask_class, NativeMask::define(env));
  exports.Set("NativeAbort", NativeAbort::define(env));
  exports.Set("listDevices", Napi::Function::New(env, list_devices, "listDevices"));
  exports.Set("loadClip", Napi::Function::New(env, &NativeClip::load, "loadClip"));
  exports.Set("loadModel", Napi::Function::New(env, &NativeModel::load, "loadModel"));
  exports.Set("readSafetensors", Napi::Function::New(env, read_safetensors, "readSafetensors"));
  exports.Set("randomNormal", Napi::Function::New(env, random_normal, "randomNormal"));
  return exports;
}

}  // namespace
}  // namespace cones::addon

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return cones::addon::init(env, exports); }
NODE_API_MODULE(cones, init_addon)
