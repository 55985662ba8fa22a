// NativeClip: a CLIP pair that measures how well pictures and texts agree, with threads and a queue of its own.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "addon/promise_queue.h"
#include "jobs/clip_pair.h"

namespace cones::addon {

class NativeClip : public Napi::ObjectWrap<NativeClip> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only loadClip constructs it, with an External<Loaded>.
  explicit NativeClip(const Napi::CallbackInfo& info);
  /// The addon's loadClip(options) → Promise<NativeClip>.
  static Napi::Value load(const Napi::CallbackInfo& info);

  struct Loaded {
    std::shared_ptr<const jobs::ClipPair> pair;
    std::shared_ptr<PromiseQueue> queue;
    std::string note;  // as NativeModel's
  };

 private:
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value precision(const Napi::CallbackInfo& info);
  Napi::Value note(const Napi::CallbackInfo& info);
  Napi::Value embed_images(const Napi::CallbackInfo& info);
  Napi::Value embed_texts(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  using Embed = std::function<std::vector<float>(const jobs::ClipPair&, const std::atomic<bool>& aborted)>;
  Napi::Value run(const Napi::CallbackInfo& info, const Napi::Object& options, Embed embed);

  /// Throws CONES_DISPOSED when there is none any more.
  const jobs::ClipPair& pair(Napi::Env env) const;

  std::shared_ptr<const jobs::ClipPair> pair_;
  std::string note_;
  std::shared_ptr<PromiseQueue> queue_;
};

}  // namespace cones::addon
