#include "addon/clip.h"

#include "addon/arguments.h"
#include "addon/configs.h"
#include "addon/devices.h"

namespace cones::addon {
namespace {

VisionConfig vision_config(const Napi::Object& o) {
  VisionConfig c;
  c.channels = static_cast<int>(integer(o, "channels", 1, 1 << 10));
  c.image_size = static_cast<int>(integer(o, "imageSize", 1, 1 << 12));
  c.patch_size = static_cast<int>(integer(o, "patchSize", 1, 1 << 12));
  c.hidden_size = static_cast<int>(integer(o, "hiddenSize", 1, 1 << 16));
  c.intermediate_size = static_cast<int>(integer(o, "intermediateSize", 1, 1 << 18));
  c.layers = static_cast<int>(integer(o, "layers", 1, 1 << 10));
  c.heads = static_cast<int>(integer(o, "heads", 1, 1 << 10));
  c.activation = activation_name(o);
  c.layer_norm_eps = static_cast<float>(number(o, "layerNormEps"));
  if (c.hidden_size % c.heads != 0) invalid(o.Env(), "heads must divide hiddenSize.");
  return c;
}

}  // namespace

Napi::Function NativeClip::define(Napi::Env env) {
  return DefineClass(env, "NativeClip",
                     {InstanceAccessor("device", &NativeClip::device, nullptr),
                      InstanceAccessor("precision", &NativeClip::precision, nullptr),
                      InstanceAccessor("note", &NativeClip::note, nullptr),
                      InstanceMethod("embedImages", &NativeClip::embed_images),
                      InstanceMethod("embedTexts", &NativeClip::embed_texts),
                      InstanceMethod("dispose", &NativeClip::dispose)});
}

NativeClip::NativeClip(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeClip is made by loadClip().");
  const Loaded& loaded = *info[0].As<Napi::External<Loaded>>().Data();
  pair_ = loaded.pair;
  note_ = loaded.note;
  queue_ = loaded.queue;
}

Napi::Value NativeClip::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "loadClip needs its options.");
  const auto o = info[0].As<Napi::Object>();
  jobs::ClipOptions options;
  options.config.text = text_config(object(o, "text"));
  options.config.vision = vision_config(object(o, "vision"));
  options.config.projection_size = static_cast<int>(integer(o, "projectionSize", 1, 1 << 16));
  options.config.eos_token_id = static_cast<int>(integer(o, "eosTokenId", 0, 1 << 24));
  options.files = weight_files(o);
  jobs::PlaceOptions where = place_options(o);
  where.planning = false;

  Napi::Object holder = Napi::Object::New(env);
  PromiseQueue* queue = PromiseQueue::owned_by(env, holder);
  return queue->add(env, {.keep = holder}, [options, where, queue](const std::atomic<bool>&, const Progress&) mutable -> Settle {
    std::string note;
    auto pair = jobs::load(where, &note, [&](const Placement& place) {
      options.place = place;
      options.memory_limit = place.memory_limit;
      return std::make_shared<const jobs::ClipPair>(options);
    });
    return [pair, queue, note](Napi::Env e) -> Napi::Value {
      Loaded loaded{pair, queue->shared_from_this(), note};
      return Instance::of(e).clip_class.New({Napi::External<Loaded>::New(e, &loaded)});
    };
  });
}

const jobs::ClipPair& NativeClip::pair(Napi::Env env) const {
  if (!pair_) throw make_error(env, "CONES_DISPOSED", "The CLIP pair was disposed. Load it again.");
  return *pair_;
}

Napi::Value NativeClip::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), pair(info.Env()).place().name);
}

Napi::Value NativeClip::precision(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), pair(info.Env()).place().precision);
}

Napi::Value NativeClip::note(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), note_); }

Napi::Value NativeClip::run(const Napi::CallbackInfo& info, const Napi::Object& options, Embed embed) {
  static_cast<void>(pair(info.Env()));
  return queue_->add(info.Env(), {.keep = Value(), .abort = abort_option(options)},
                     [pair = pair_, embed = std::move(embed)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
                       return [values = embed(*pair, aborted)](Napi::Env e) { return to_array(e, values); };
                     });
}

Napi::Value NativeClip::embed_images(const Napi::CallbackInfo& info) {
  if (!info[1].IsObject()) invalid(info.Env(), "embedImages needs its options.");
  const auto o = info[1].As<Napi::Object>();
  return run(info, o,
             [pixels = elements<float>(info[0], "pixels"), batch = integer(o, "batch", 1, 1 << 16)](
                 const jobs::ClipPair& pair, const std::atomic<bool>& aborted) { return pair.embed_images(pixels, batch, aborted); });
}

Napi::Value NativeClip::embed_texts(const Napi::CallbackInfo& info) {
  if (!info[1].IsObject()) invalid(info.Env(), "embedTexts needs its options.");
  const auto o = info[1].As<Napi::Object>();
  return run(info, o,
             [ids = elements<std::int32_t>(info[0], "ids"), batch = integer(o, "batch", 1, 1 << 16)](
                 const jobs::ClipPair& pair, const std::atomic<bool>& aborted) { return pair.embed_texts(ids, batch, aborted); });
}

Napi::Value NativeClip::dispose(const Napi::CallbackInfo& info) {
  pair_ = nullptr;  // running jobs keep their own reference until they end
  return info.Env().Undefined();
}

}  // namespace cones::addon
