#include "addon/instance.h"

#include "addon/promise_queue.h"

namespace cones::addon {

Napi::Error make_error(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

Instance::Instance(Napi::Env env)
    : env_(env), channel_(Channel::New(env, "cones", /*max_queue_size=*/0, /*initial_thread_count=*/1, this)) {
  channel_.Unref(env);  // an idle model does not keep the process alive; pending promises do (add_pending)
  // Clean-up hooks run in reverse order: this one comes before the thread-safe function's own.
  env.AddCleanupHook([this] { shut_down(); });
}

void Instance::shut_down() {
  const std::set<PromiseQueue*> queues = queues_;
  for (PromiseQueue* queue : queues) queue->stop();
  pending_.clear();
}

std::uint64_t Instance::add_pending(Napi::Env env, Napi::Object keep, Napi::Function callback, jobs::AbortFlag flag,
                                    Napi::Promise* promise) {
  if (pending_.empty()) channel_.Ref(env);
  const std::uint64_t id = next_id_++;
  Pending pending{Napi::Promise::Deferred::New(env), Napi::Persistent(keep), {}, std::move(flag), nullptr};
  if (!callback.IsEmpty()) pending.callback = Napi::Persistent(callback);
  *promise = pending.deferred.Promise();
  pending_.emplace(id, std::move(pending));
  return id;
}

Instance::Pending Instance::take(std::uint64_t id) {
  auto node = pending_.extract(id);
  if (pending_.empty()) channel_.Unref(env_);
  return std::move(node.mapped());
}

void Instance::resolve(Napi::Env env, std::uint64_t id, const Settle& settle) {
  Pending pending = take(id);
  if (pending.thrown) return pending.deferred.Reject(pending.thrown->Value());
  try {
    pending.deferred.Resolve(settle(env));
  } catch (const Napi::Error& error) {
    pending.deferred.Reject(error.Value());
  }
}

void Instance::reject(Napi::Env env, std::uint64_t id, const std::string& code, const std::string& message) {
  Pending pending = take(id);
  pending.deferred.Reject(pending.thrown ? pending.thrown->Value() : make_error(env, code, message).Value());
}

void Instance::notify(Napi::Env env, std::uint64_t id,
                      const std::function<std::vector<napi_value>(Napi::Env)>& arguments) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;  // an aborted job may end before its step
  Pending& pending = found->second;
  if (pending.callback.IsEmpty() || pending.thrown) return;
  try {
    pending.callback.Call(arguments(env));
  } catch (const Napi::Error& error) {
    // The callback may have added promises, and have aborted this job: look the entry up again.
    const auto again = pending_.find(id);
    if (again == pending_.end()) return;
    again->second.thrown = std::make_unique<Napi::Error>(error);
    again->second.flag->store(true);
  }
}

void Instance::post(Message message) {
  auto* data = new Message(std::move(message));
  if (channel_.NonBlockingCall(data) != napi_ok) delete data;  // the environment is ending
}

void Instance::deliver(Napi::Env env, Napi::Function, Instance* instance, Message* message) {
  const std::unique_ptr<Message> owned(message);
  if (env != nullptr) (*owned)(env, *instance);
}

}  // namespace cones::addon
