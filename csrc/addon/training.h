// NativeTraining: a training of one of the paper's rivals and its data, on its model's queue.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/learning.h"
#include "jobs/training.h"
#include "model/model.h"

namespace cones::addon {

class NativeTraining : public NativeLearning<NativeTraining, jobs::TrainJob> {
 public:
  static constexpr const char* kMadeBy = "NativeTraining is made by createTraining().";
  static constexpr const char* kDisposed = "The training was disposed. Start another one.";
  static constexpr const char* kNoMasks = "A training's update takes no masks.";
  static constexpr const char* kOwnCaptions = "A training that learns identifiers encodes its own captions: use run().";
  static constexpr bool kUnstoppable = false;

  static Napi::Function define(Napi::Env env);
  using NativeLearning::NativeLearning;

  /// Reads the options on the JavaScript thread; the returned work builds the training and settles with a NativeTraining.
  static Work create(const Napi::Object& options, std::shared_ptr<const Model> model, PromiseQueue* queue);
  /// NativeModel's planTraining.
  static Napi::Value plan(const Napi::Object& options, const Model& model);

 private:
  Napi::Value embeddings(const Napi::CallbackInfo& info);
  Napi::Value weights(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

}  // namespace cones::addon
