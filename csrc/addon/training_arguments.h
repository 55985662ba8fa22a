// What the start of a search and of a training, their steps and their states have in common.
#pragma once

#include <napi.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>

#include "addon/promise_queue.h"
#include "jobs/plan.h"
#include "jobs/training_data.h"
#include "model/model.h"

namespace cones::addon {

/// Pictures, captions and noise.
void read_data(const Napi::Object& options, const Model& model, jobs::DataInput& in);
/// Empty unless identifiers are learned.
std::optional<IdentifierOptions> identifier_options(const Napi::Object& options, const jobs::DataInput& in);

/// Of run({ steps, share, abort, onStep }).
PromiseQueue::Options run_options(const Napi::Object& options, Napi::Object keep);
/// Tells onStep of every step; for as long as `progress` lives.
std::function<void(const jobs::SearchProgress&)> notifier(const Progress& progress);
Settle settle(StepResult result);
Napi::Value plan_value(Napi::Env env, const jobs::Plan& plan);

/// The argument of loadState. Not copied: for a large model that would take the JavaScript thread half a second.
struct SavedState {
  SavedState(const Napi::CallbackInfo& info, Napi::Object owner);
  Napi::Object keep;  // while the bytes are read
  std::span<const std::byte> bytes;
};

}  // namespace cones::addon
