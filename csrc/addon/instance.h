// What one Node environment (the main thread or a worker) owns: classes, pending promises, and the way back to JavaScript.
//
// Jobs run on threads of their own. Whatever they have to say to JavaScript goes as a message through one thread-safe
// function. When the environment ends, all jobs are aborted and their threads joined before Node frees that function.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "addon/abort.h"
#include "base/error.h"

namespace cones::addon {

class PromiseQueue;

/// Turns a finished job's result into a JavaScript value; runs on the JavaScript thread.
using Settle = std::function<Napi::Value(Napi::Env)>;

class Instance {
 public:
  using Message = std::function<void(Napi::Env, Instance&)>;

  explicit Instance(Napi::Env env);
  static Instance& of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

  Napi::FunctionReference adapter_class, clip_class, model_class, search_class, mask_class;

  // On the JavaScript thread:
  /// A new promise; `keep` (this object) and `callback` (may be empty) live until it settles.
  std::uint64_t add_pending(Napi::Env env, Napi::Object keep, Napi::Function callback, jobs::AbortFlag flag,
                            Napi::Promise* promise);
  void resolve(Napi::Env env, std::uint64_t id, const Settle& settle);
  void reject(Napi::Env env, std::uint64_t id, const std::string& code, const std::string& message);
  /// Calls the pending job's callback; what it throws aborts the job and becomes its rejection.
  void notify(Napi::Env env, std::uint64_t id, const std::function<std::vector<napi_value>(Napi::Env)>& arguments);
  void add_queue(PromiseQueue* queue) { queues_.insert(queue); }
  void remove_queue(PromiseQueue* queue) { queues_.erase(queue); }

  // On any thread:
  void post(Message message);

 private:
  struct Pending {
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference keep;
    Napi::FunctionReference callback;
    jobs::AbortFlag flag;
    std::unique_ptr<Napi::Error> thrown;  // by the callback
  };
  static void deliver(Napi::Env env, Napi::Function, Instance* instance, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<Instance, Message, &Instance::deliver>;
  Pending take(std::uint64_t id);
  void shut_down();

  Napi::Env env_;
  Channel channel_;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::uint64_t next_id_ = 1;
  std::set<PromiseQueue*> queues_;
};

/// A JavaScript Error with a `code`.
Napi::Error make_error(Napi::Env env, const std::string& code, const std::string& message);

/// Runs core code on the JavaScript thread, where its errors must become JavaScript ones.
template <class F>
auto guarded(Napi::Env env, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw make_error(env, error.code(), error.what());
  }
}

}  // namespace cones::addon
