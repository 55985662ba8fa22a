// NativeClip: a CLIP pair that measures how well pictures and texts agree, with threads and a queue of its own.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/job_queue.h"
#include "io/weights.h"
#include "model/clip.h"

namespace cones::addon {

/// A loaded pair with what its jobs need.
struct ClipHost {
  Weights weights;
  Context context;
  std::unique_ptr<Clip> clip;
};

class NativeClip : public Napi::ObjectWrap<NativeClip> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only loadClip constructs it, with an External<Loaded>.
  explicit NativeClip(const Napi::CallbackInfo& info);
  /// The addon's loadClip(options) → Promise<NativeClip>.
  static Napi::Value load(const Napi::CallbackInfo& info);

  struct Loaded {
    std::shared_ptr<ClipHost> host;
    std::shared_ptr<JobQueue> queue;
  };

 private:
  Napi::Value embed_images(const Napi::CallbackInfo& info);
  Napi::Value embed_texts(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  using Embed = std::function<Tensor(const Context&, const Clip&)>;
  Napi::Value run(const Napi::CallbackInfo& info, const Napi::Object& options, Embed embed);

  std::shared_ptr<ClipHost> host_;
  std::shared_ptr<JobQueue> queue_;
};

}  // namespace cones::addon
