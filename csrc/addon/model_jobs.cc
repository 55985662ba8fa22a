// NativeModel's jobs without gradients: memory, text, pictures, denoising, masks (sampling: sample_job.cc). Each copies its
// arguments, queues the work, and makes JavaScript values of the result.
#include <string>
#include <utility>

#include "addon/adapter.h"
#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/mask.h"
#include "addon/model.h"
#include "base/heap.h"
#include "jobs/denoise.h"
#include "jobs/encode_text.h"
#include "jobs/pictures.h"
#include "jobs/plan.h"

namespace cones::addon {
namespace {

Settle array_result(std::vector<float> values) {
  return [values = std::move(values)](Napi::Env env) mutable { return hand_over(env, std::move(values)); };
}

/// encodeImages and decode: values, their number, height, width.
using InPasses = std::vector<float> (*)(const Model&, const jobs::Pictures&, const std::atomic<bool>&);
Work picture_job(const Napi::CallbackInfo& info, const char* name, std::shared_ptr<const Model> model, InPasses job) {
  auto values = elements<float>(info[0], name);
  const jobs::Pictures sizes{.count = size_argument(info, 1), .height = size_argument(info, 2), .width = size_argument(info, 3), .draft = boolean(options_of(info, 4), "draft")};
  return [model = std::move(model), values = std::move(values), sizes, job](const std::atomic<bool>& aborted, const Progress&) {
    jobs::Pictures in = sizes;
    in.values = values;
    return array_result(job(*model, in, aborted));
  };
}

}  // namespace

Napi::Value NativeModel::run(Napi::Env env, const Napi::Object& options, const char* callback_key, Work work,
                             PromiseQueue::Options schedule) {
  if (model(env)->options().place.planning)
    throw make_error(env, "CONES_OPTION_INVALID", "This engine was loaded for plans alone. Load the model without planOnly.");
  schedule.keep = Value();
  if (callback_key) schedule.callback = callback(options, callback_key);
  schedule.abort = abort_option(options);
  return queue_->add(env, schedule, std::move(work));
}

Napi::Value NativeModel::available_memory(const Napi::CallbackInfo& info) {
  return run(info.Env(), options_of(info, 0), nullptr,
             [m = model(info.Env()), group = samplings_](const std::atomic<bool>&, const Progress&) -> Settle {
               // Who does not fit beside the drawings under way waits for their end.
               return [bytes = m->available_memory() + group->held()](Napi::Env env) {
                 return Napi::Number::New(env, static_cast<double>(bytes));
               };
             });
}

Napi::Value NativeModel::word_norm(const Napi::CallbackInfo& info) {
  return run(info.Env(), options_of(info, 0), nullptr, [m = model(info.Env())](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return [norm = m->text().mean_token_norm(m->context(&aborted))](Napi::Env env) { return Napi::Number::New(env, norm); };
  });
}

Napi::Value NativeModel::recent_steps(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  static_cast<void>(model(env));
  const jobs::SamplingGroup::Recent recent = samplings_->recent();
  Napi::Object result = Napi::Object::New(env);
  result.Set("stepsPerSecond", Napi::Number::New(env, recent.steps_per_second));
  result.Set("rowsPerStep", Napi::Number::New(env, recent.rows_per_step));
  return result;
}

Napi::Value NativeModel::trim(const Napi::CallbackInfo& info) {
  return run(info.Env(), options_of(info, 0), nullptr, [m = model(info.Env())](const std::atomic<bool>&, const Progress&) -> Settle {
    m->trim();
    trim_heap();
    return [](Napi::Env env) { return env.Undefined(); };
  });
}

Napi::Value NativeModel::encode_text(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  jobs::TextInput in;
  in.ids = elements<std::int32_t>(info[0], "ids");
  in.rows = size_argument(info, 1);
  const Napi::Object o = options_of(info, 2);
  if (has(o, "replaceIds")) {
    in.replace_ids = elements<std::int32_t>(o, "replaceIds");
    in.replace_rows = elements<float>(o, "replaceRows");
  }
  if (has(o, "adapters")) in.adapters = adapter_uses(o.Get("adapters"), "adapters", *model(env));
  return run(env, o, nullptr, [m = model(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return array_result(jobs::run(jobs::encode_text, *m, in, aborted));
  });
}

Napi::Value NativeModel::encode_images(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return run(env, options_of(info, 4), nullptr, picture_job(info, "pixels", model(env), jobs::encode_in_passes));
}

Napi::Value NativeModel::decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return run(env, options_of(info, 4), nullptr, picture_job(info, "latents", model(env), jobs::decode_in_passes));
}

Napi::Value NativeModel::denoise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info, 0);
  jobs::DenoiseInput in;
  read_denoise(o, *model(env), in);
  return run(env, o, nullptr, [m = model(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return array_result(jobs::run(jobs::denoise, *m, in, aborted));
  });
}

Napi::Value NativeModel::create_adapter(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return run(env, options_of(info, 1), nullptr,
             [m = model(env), layers = adapter_layers(info[0])](const std::atomic<bool>& aborted, const Progress&) -> Settle {
               return [adapter = jobs::make_adapter(m, layers, aborted)](Napi::Env e) { return NativeAdapter::make(e, adapter); };
             });
}

Napi::Value NativeModel::create_mask(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return run(env, Napi::Object::New(env), nullptr,
             [m = model(env), indices = index_lists(info[0], "indices")](const std::atomic<bool>& aborted,
                                                                         const Progress&) -> Settle {
               return [mask = jobs::make_mask(m, indices, aborted)](Napi::Env e) { return NativeMask::make(e, mask); };
             });
}

}  // namespace cones::addon
