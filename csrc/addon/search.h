// NativeSearch: a concept search and its data, on its model's queue.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/learning.h"
#include "jobs/search.h"
#include "model/model.h"

namespace cones::addon {

class NativeSearch : public NativeLearning<NativeSearch, jobs::SearchJob> {
 public:
  static constexpr const char* kMadeBy = "NativeSearch is made by createSearch().";
  static constexpr const char* kDisposed = "The search was disposed. Start another one.";
  static constexpr const char* kNoMasks = "A search's update takes no masks: what is shut is what it searches.";
  static constexpr const char* kOwnCaptions = "A search that learns its identifier encodes its own captions: use run().";
  static constexpr bool kUnstoppable = true;

  static Napi::Function define(Napi::Env env);
  using NativeLearning::NativeLearning;

  /// Reads the options on the JavaScript thread; the returned work builds the search and settles with a NativeSearch.
  static Work create(const Napi::Object& options, std::shared_ptr<const Model> model, PromiseQueue* queue);
  /// NativeModel's planSearch.
  static Napi::Value plan(const Napi::Object& options, const Model& model);

 private:
  Napi::Value embedding(const Napi::CallbackInfo& info);
  Napi::Value ranking(const Napi::CallbackInfo& info);
  Napi::Value select_threshold(const Napi::CallbackInfo& info);
  Napi::Value select_count(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

}  // namespace cones::addon
