// NativeModel's jobs around the loss: gradients of chosen tensors, losses for reports, the start of a concept search.
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/mask.h"
#include "addon/model.h"
#include "addon/search.h"
#include "jobs/gradient.h"
#include "jobs/loss.h"
#include "jobs/plan.h"
#include "jobs/token_gradient.h"

namespace cones::addon {
namespace {

Settle gradient_result(jobs::GradientResult result) {
  return [result = std::move(result)](Napi::Env e) mutable -> Napi::Value {
    Napi::Object value = Napi::Object::New(e);
    value.Set("loss", Napi::Number::New(e, result.loss));
    value.Set("rows", to_array(e, result.rows));
    Napi::Array list = Napi::Array::New(e, result.gradients.size());
    for (std::uint32_t i = 0; i < result.gradients.size(); ++i) list.Set(i, hand_over(e, result.gradients[i]));
    value.Set("gradients", list);
    if (!result.output.empty()) value.Set("output", hand_over(e, std::move(result.output)));
    if (!result.latents.empty()) value.Set("latents", hand_over(e, std::move(result.latents)));
    if (!result.embeddings.empty()) value.Set("embeddings", hand_over(e, std::move(result.embeddings)));
    return value;
  };
}

}  // namespace

Napi::Value NativeModel::gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  jobs::GradientInput in;
  in.own_upstream = has(o, "upstream");
  if (in.own_upstream) {
    read_denoise(o, *model(env), in);
    in.upstream = elements<float>(o, "upstream");
  } else {
    read_training(o, *model(env), in);
  }
  in.tensors = strings(o, "tensors");
  in.want_latents = boolean(o, "wantLatents");
  in.want_embeddings = boolean(o, "wantEmbeddings");
  in.checkpointing = checkpointing(o);
  return run(env, o, nullptr, [m = model(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return gradient_result(jobs::run(jobs::gradient, *m, in, aborted));
  });
}

Napi::Value NativeModel::token_gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  jobs::TokenGradientInput in;
  in.ids = elements<std::int32_t>(o, "ids");
  in.tokens = elements<std::int32_t>(o, "tokens");
  in.rows = has(o, "rows") ? integer(o, "rows", 1, 1 << 16) : 1;
  in.upstream = elements<float>(o, "upstream");
  return run(env, o, nullptr, [m = model(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return [values = jobs::run(jobs::token_gradient, *m, in, aborted)](Napi::Env e) { return to_array(e, values); };
  });
}

Napi::Value NativeModel::loss(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  jobs::LossInput in;
  in.shape = latent_shape(o, 2 * index_t{model(env)->unet().config().in_channels});
  in.moments = elements<float>(o, "moments");
  in.embeddings = elements<float>(o, "embeddings");
  in.tokens = integer(o, "tokens", 1, kMaxTokens);
  in.timesteps = elements<double>(o, "timesteps");
  in.alphas_cumprod = elements<double>(o, "alphasCumprod");
  in.latent_scale = number(o, "latentScale");
  in.prediction = prediction_of(o);
  in.seed = seed(o, "seed");
  in.masks = mask_rows(o, "masks", in.shape[0], *model(env));
  return run(env, o, nullptr, [m = model(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return [means = jobs::run(jobs::loss, *m, in, aborted)](Napi::Env e) { return to_array(e, means); };
  });
}

Napi::Value NativeModel::plan_gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  const Shape shape = latent_shape(o, 1);
  const index_t tokens = integer(o, "tokens", 1, kMaxTokens);
  const Model& m = *model(env);
  jobs::GradientInput in;
  static_cast<jobs::DenoiseInput&>(in) = jobs::sizes_of(m, shape[0], shape[1], shape[2], tokens);
  in.weights = in.timesteps;
  in.tensors = strings(o, "tensors");
  in.want_latents = in.want_embeddings = true;
  in.checkpointing = checkpointing(o);
  const std::size_t bytes = guarded(env, [&] { return jobs::plan(jobs::gradient, m, in).peak; });
  return Napi::Number::New(env, static_cast<double>(bytes));
}

Napi::Value NativeModel::plan_search(const Napi::CallbackInfo& info) {
  return NativeSearch::plan(options_of(info), *model(info.Env()));
}

Napi::Value NativeModel::create_search(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  return run(env, o, nullptr, NativeSearch::create(o, model(env), queue_.get()));
}

}  // namespace cones::addon
