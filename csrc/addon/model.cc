#include "addon/model.h"

#include <algorithm>

#include "addon/adapter.h"
#include "addon/arguments.h"
#include "addon/configs.h"
#include "addon/devices.h"
#include "addon/latent_arguments.h"
#include "jobs/denoise.h"
#include "jobs/drawing.h"
#include "jobs/encode_text.h"
#include "jobs/pictures.h"
#include "jobs/plan.h"
#include "base/heap.h"
#include "cpu/backend.h"

namespace cones::addon {

Napi::Function NativeModel::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {InstanceAccessor("kvTensors", &NativeModel::kv_tensors, nullptr),
                      InstanceAccessor("isa", &NativeModel::isa, nullptr),
                      InstanceAccessor("device", &NativeModel::device, nullptr),
                      InstanceAccessor("precision", &NativeModel::precision, nullptr),
                      InstanceAccessor("note", &NativeModel::note, nullptr),
                      InstanceMethod("kvBytes", &NativeModel::kv_bytes),
                      InstanceMethod("kvValues", &NativeModel::kv_values),
                      InstanceMethod("memory", &NativeModel::memory),
                      InstanceMethod("trim", &NativeModel::trim),
                      InstanceMethod("recentSteps", &NativeModel::recent_steps),
                      InstanceMethod("availableMemory", &NativeModel::available_memory),
                      InstanceMethod("planText", &NativeModel::plan_text),
                      InstanceMethod("wordNorm", &NativeModel::word_norm),
                      InstanceMethod("planSample", &NativeModel::plan_sample),
                      InstanceMethod("planSearch", &NativeModel::plan_search),
                      InstanceMethod("planTraining", &NativeModel::plan_training),
                      InstanceMethod("planDenoise", &NativeModel::plan_denoise),
                      InstanceMethod("planGradient", &NativeModel::plan_gradient),
                      InstanceMethod("planEncode", &NativeModel::plan_encode),
                      InstanceMethod("planDecode", &NativeModel::plan_decode),
                      InstanceMethod("encodeText", &NativeModel::encode_text),
                      InstanceMethod("tokenGradient", &NativeModel::token_gradient),
                      InstanceMethod("encodeImages", &NativeModel::encode_images),
                      InstanceMethod("decode", &NativeModel::decode),
                      InstanceMethod("denoise", &NativeModel::denoise),
                      InstanceMethod("sample", &NativeModel::sample),
                      InstanceMethod("gradient", &NativeModel::gradient),
                      InstanceMethod("loss", &NativeModel::loss),
                      InstanceMethod("adaptable", &NativeModel::adaptable),
                      InstanceMethod("createAdapter", &NativeModel::create_adapter),
                      InstanceMethod("createMask", &NativeModel::create_mask),
                      InstanceMethod("createSearch", &NativeModel::create_search),
                      InstanceMethod("createTraining", &NativeModel::create_training),
                      InstanceMethod("dispose", &NativeModel::dispose)});
}

NativeModel::NativeModel(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeModel is made by loadModel().");
  const Loaded& loaded = *info[0].As<Napi::External<Loaded>>().Data();
  model_ = loaded.model;
  note_ = loaded.note;
  queue_ = loaded.queue;
  samplings_ = std::make_shared<jobs::SamplingGroup>();
}

Napi::Value NativeModel::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "loadModel needs its options.");
  const auto o = info[0].As<Napi::Object>();
  ModelOptions options;
  options.unet = unet_config(object(o, "unet"));
  options.text = text_config(object(o, "text"));
  options.vae = vae_config(object(o, "vae"));
  options.files = {weight_files(object(o, "text")), weight_files(object(o, "unet")), weight_files(object(o, "vae")), {}};
  if (has(o, "drafts")) {
    options.drafts = vae_config(object(o, "drafts"));
    options.files.drafts = weight_files(object(o, "drafts"));
  }
  const jobs::PlaceOptions where = place_options(o);

  Napi::Object holder = Napi::Object::New(env);
  PromiseQueue* queue = PromiseQueue::owned_by(env, holder);
  return queue->add(env, {.keep = holder}, [options, where, queue](const std::atomic<bool>&, const Progress&) mutable -> Settle {
    std::string note;
    auto model = jobs::load(where, &note, [&](const Placement& place) {
      options.place = place;
      options.memory_limit = place.memory_limit;
      return std::make_shared<Model>(options);
    });
    return [model, queue, note](Napi::Env e) -> Napi::Value {
      Loaded loaded{model, queue->shared_from_this(), note};
      return Instance::of(e).model_class.New({Napi::External<Loaded>::New(e, &loaded)});
    };
  });
}

const std::shared_ptr<Model>& NativeModel::model(Napi::Env env) const {
  if (!model_) throw make_error(env, "CONES_DISPOSED", "The engine was disposed. Load the model again.");
  return model_;
}

Napi::Value NativeModel::kv_tensors(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  for (const KvWeights* weights : model(env)->unet().kv_tensors()) {
    Napi::Object tensor = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, 2);
    shape.Set(0u, Napi::Number::New(env, static_cast<double>(weights->out())));
    shape.Set(1u, Napi::Number::New(env, static_cast<double>(weights->in())));
    tensor.Set("name", Napi::String::New(env, weights->parameter().name));
    tensor.Set("shape", shape);
    list.Set(static_cast<std::uint32_t>(weights->index()), tensor);
  }
  return list;
}

Napi::Value NativeModel::adaptable(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  for (const bool of_text : {false, true})
    for (const Parameter* weight : model(env)->adaptable(of_text)) {
      Napi::Object layer = Napi::Object::New(env);
      Napi::Array shape = Napi::Array::New(env);
      for (int i = 0; i < weight->shape.rank(); ++i) shape.Set(static_cast<std::uint32_t>(i), static_cast<double>(weight->shape[i]));
      layer.Set("part", of_text ? "text" : "unet");
      layer.Set("name", weight->name);
      layer.Set("shape", shape);
      list.Set(list.Length(), layer);
    }
  return list;
}

const Parameter& NativeModel::kv_parameter(const Napi::CallbackInfo& info) const {
  const auto& tensors = model(info.Env())->unet().kv_tensors();
  const double index = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(index >= 0 && index < static_cast<double>(tensors.size()))) invalid(info.Env(), "There is no such K-V tensor.");
  return tensors[static_cast<std::size_t>(index)]->parameter();
}

Napi::Value NativeModel::kv_values(const Napi::CallbackInfo& info) {
  const Parameter& parameter = kv_parameter(info);
  auto values = Napi::Float32Array::New(info.Env(), static_cast<std::size_t>(parameter.size()));
  guarded(info.Env(), [&] { parameter.read(0, parameter.size(), values.Data()); });
  return values;
}

Napi::Value NativeModel::kv_bytes(const Napi::CallbackInfo& info) {
  const Parameter& parameter = kv_parameter(info);
  const std::size_t size = static_cast<std::size_t>(parameter.size()) * dtype_size(parameter.dtype);
  auto bytes = Napi::Buffer<std::byte>::New(info.Env(), size);
  guarded(info.Env(), [&] { parameter.bytes(0, {bytes.Data(), size}); });
  return bytes;
}

Napi::Value NativeModel::isa(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), (static_cast<void>(model(info.Env())), cpu_isa()));
}

Napi::Value NativeModel::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), model(info.Env())->options().place.name);
}

Napi::Value NativeModel::precision(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), model(info.Env())->options().place.precision);
}

Napi::Value NativeModel::note(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), note_); }

Napi::Value NativeModel::memory(const Napi::CallbackInfo& info) {
  const auto use = model(info.Env())->memory();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("weights", Napi::Number::New(info.Env(), static_cast<double>(use.weights)));
  result.Set("inUse", Napi::Number::New(info.Env(), static_cast<double>(use.in_use)));
  result.Set("peak", Napi::Number::New(info.Env(), static_cast<double>(use.peak)));
  result.Set("cached", Napi::Number::New(info.Env(), static_cast<double>(use.cached)));
  result.Set("forGradients", Napi::Number::New(info.Env(), static_cast<double>(use.for_gradients)));
  result.Set("limit", Napi::Number::New(info.Env(), std::min(static_cast<double>(use.limit), 0x1p53)));
  return result;
}

namespace {

std::vector<index_t> sizes(const Napi::CallbackInfo& info, std::size_t count) {
  std::vector<index_t> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(size_argument(info, i));
  return values;
}

// An optional argument; left out, what is free now.
std::size_t available(const Napi::Value& value, const Model& model) {
  if (!value.IsNumber()) return model.available_memory();
  const double bytes = value.As<Napi::Number>().DoubleValue();
  return bytes > 0 ? static_cast<std::size_t>(std::min(bytes, 0x1p53)) : 0;  // none for NaN
}

template <class Plan>
Napi::Value bytes(Napi::Env env, Plan plan) {
  return Napi::Number::New(env, static_cast<double>(guarded(env, plan)));
}

}  // namespace

Napi::Value NativeModel::plan_denoise(const Napi::CallbackInfo& info) {
  const auto s = sizes(info, 4);
  return bytes(info.Env(), [&] {
    const Model& m = *model(info.Env());
    return jobs::plan(jobs::denoise, m, jobs::sizes_of(m, s[0], s[1], s[2], s[3])).peak;
  });
}

Napi::Value NativeModel::plan_text(const Napi::CallbackInfo& info) {
  const auto s = sizes(info, 2);
  jobs::TextInput in;
  in.rows = s[0];
  in.ids.resize(static_cast<std::size_t>(s[0] * s[1]));
  return bytes(info.Env(), [&] { return jobs::plan(jobs::encode_text, *model(info.Env()), in).peak; });
}

Napi::Value NativeModel::plan_sample(const Napi::CallbackInfo& info) {
  const Napi::Object o = options_of(info);
  const Model& m = *model(info.Env());
  jobs::DrawingSize size{.shape = latent_shape(o, m.unet().config().out_channels),
                         .tokens = integer(o, "tokens", 1, kMaxSide),
                         .guided = boolean(o, "guided"),
                         .by_picture = boolean(o, "byPicture"),
                         .known = boolean(o, "known")};
  size.window = {size.shape[1], size.shape[2]};
  if (has(o, "regions")) size.regions = integer(o, "regions", 1, kMaxSide);
  if (has(o, "window")) {
    const Napi::Object window = object(o, "window");
    size.window = {integer(window, "height", 1, kMaxSide), integer(window, "width", 1, kMaxSide)};
  }
  if (has(o, "adapters")) {
    auto uses = adapter_uses(o.Get("adapters"), "adapters", m);
    if (!uses.empty()) size.adapters.assign(static_cast<std::size_t>(size.pictures()), std::move(uses));
  }
  return bytes(info.Env(), [&] { return jobs::plan_together(m, {size}).peak; });
}

Napi::Value NativeModel::plan_encode(const Napi::CallbackInfo& info) {
  const auto s = sizes(info, 3);
  return bytes(info.Env(), [&] {
    const auto& m = model(info.Env());
    return jobs::plan_encode(*m, {s[0], s[1], s[2]}, available(info[3], *m));
  });
}

Napi::Value NativeModel::plan_decode(const Napi::CallbackInfo& info) {
  const auto s = sizes(info, 3);
  return bytes(info.Env(), [&] {
    const auto& m = model(info.Env());
    return jobs::plan_decode(*m, {.count = s[0], .height = s[1], .width = s[2], .draft = info[4].ToBoolean().Value()}, available(info[3], *m));
  });
}

Napi::Value NativeModel::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!model_) {  // disposed already, or being disposed
    auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  queue_->abort_all();
  auto owned = std::make_shared<std::shared_ptr<Model>>(std::move(model_));
  model_ = nullptr;
  // The last job of the queue: when it runs, all others have ended, and the weights go on the job's thread. The promise
  // keeps this object, and with it the queue, until then.
  return queue_->add(env, {.keep = Value()}, [owned, this](const std::atomic<bool>&, const Progress&) -> Settle {
    owned->reset();
    trim_heap();
    return [this](Napi::Env e) {
      queue_ = nullptr;  // joins the queue's thread, which has nothing left to do
      return e.Undefined();
    };
  });
}

}  // namespace cones::addon
