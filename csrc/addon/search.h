// NativeSearch: a concept search and its data, on its model's queue.
#pragma once

#include <napi.h>

#include <memory>
#include <span>
#include <vector>

#include "addon/job_queue.h"
#include "concepts/search.h"
#include "concepts/search_data.h"
#include "model/model.h"

namespace cones::addon {

/// Members are declared so that the search is destroyed before the model it refers to.
struct SearchJob {
  std::shared_ptr<Model> model;
  std::unique_ptr<SearchData> data;
  std::unique_ptr<ConceptSearch> search;
  std::unique_ptr<LearnedIdentifier> identifier;  // null unless it is learned
  std::size_t still_to_hold = 0;  // bytes that the first step takes for good: backward's weights, moments
  std::size_t step_bytes = 0;     // that every step needs besides

  /// The search's state and then the identifier's; load() changes both or neither.
  std::vector<std::byte> save() const;
  void load(std::span<const std::byte> state);
};

class NativeSearch : public Napi::ObjectWrap<NativeSearch> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createSearch constructs it, with an External<Created>.
  explicit NativeSearch(const Napi::CallbackInfo& info);

  struct Created {
    std::shared_ptr<SearchJob> job;
    std::shared_ptr<JobQueue> queue;
  };
  /// Reads the options on the JavaScript thread; the returned work builds the search and settles with a NativeSearch.
  static Work create(const Napi::Object& options, std::shared_ptr<Model> model, JobQueue* queue);
  /// NativeModel's planSearch.
  static Napi::Value plan(const Napi::Object& options, const Model& model);

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value save_state(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value embedding(const Napi::CallbackInfo& info);
  Napi::Value ranking(const Napi::CallbackInfo& info);
  Napi::Value select_threshold(const Napi::CallbackInfo& info);
  Napi::Value select_count(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  const std::shared_ptr<SearchJob>& job(Napi::Env env) const;
  /// Queues `work` behind everything else that this search was asked for.
  Napi::Value queue(Napi::Env env, JobQueue::Options options, Work work);

  std::shared_ptr<SearchJob> job_;
  std::shared_ptr<JobQueue> queue_;
};

}  // namespace cones::addon
