#include "addon/training_arguments.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"

namespace cones::addon {
namespace {

std::vector<std::vector<int>> caption_lists(const Napi::Object& o) {
  const auto offsets = elements<std::int32_t>(o, "captionOffsets");
  const auto flat = elements<std::int32_t>(o, "captions");
  std::vector<std::vector<int>> captions;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || static_cast<std::size_t>(offsets[i + 1]) > flat.size())
      invalid(o.Env(), "captionOffsets must ascend within captions.");
    captions.emplace_back(flat.begin() + offsets[i], flat.begin() + offsets[i + 1]);
  }
  return captions;
}

SearchDataOptions data_options(const Napi::Object& o) {
  SearchDataOptions data;
  data.captions = caption_lists(o);
  data.subjects = integer(o, "subjects", 1, 1 << 20);
  data.latent_scale = number(o, "latentScale");
  data.subject_batch = static_cast<int>(integer(o, "subjectBatch", 1, 1024));
  data.prior_batch = static_cast<int>(integer(o, "priorBatch", 0, 1024));
  data.prior_weight = number(o, "priorWeight");
  data.alphas_cumprod = elements<double>(o, "alphasCumprod");
  data.prediction = prediction_of(o);
  data.min_timestep = static_cast<int>(integer(o, "minTimestep", 0, 1 << 20));
  data.max_timestep = static_cast<int>(integer(o, "maxTimestep", 1, 1 << 20));
  data.seed = seed(o, "seed");
  return data;
}

}  // namespace

void read_data(const Napi::Object& o, const Model& model, jobs::DataInput& in) {
  const UNetConfig& config = model.unet().config();
  in.shape = latent_shape(o, 2 * index_t{config.in_channels});
  in.data = data_options(o);
  in.tokens = integer(o, "tokens", 1, kMaxTokens);
  in.moments = elements<float>(o, "moments");
  in.embeddings = elements<float>(o, "embeddings");
  in.captions = static_cast<index_t>(in.embeddings.size()) / (in.tokens * config.cross_attention_dim);
}

std::optional<IdentifierOptions> identifier_options(const Napi::Object& o, const jobs::DataInput& in) {
  if (!has(o, "identifier")) return {};
  const Napi::Object from = object(o, "identifier");
  IdentifierOptions options;
  options.tokens = elements<std::int32_t>(from, "tokens");
  for (const auto& start : index_lists(from.Get("starts"), "identifier.starts")) options.starts.emplace_back(start.begin(), start.end());
  const auto captions = elements<std::int32_t>(from, "captions");
  options.captions.assign(captions.begin(), captions.end());
  options.ids = elements<std::int32_t>(from, "ids");
  options.most_rows = in.data.subject_batch + in.data.prior_batch;
  options.learning_rate = number(from, "learningRate");
  if (has(from, "normLimit")) options.norm_limit = number(from, "normLimit");
  if (has(from, "weightDecay")) options.weight_decay = number(from, "weightDecay");
  if (options.ids.size() != captions.size() * static_cast<std::size_t>(in.tokens))
    invalid(o.Env(), "identifier.ids must be [captions, tokens].");
  return options;
}

PromiseQueue::Options run_options(const Napi::Object& o, Napi::Object keep) {
  const double share = has(o, "share") ? number(o, "share") : 0.5;
  if (!(share > 0 && share < 1)) invalid(o.Env(), "share must lie between 0 and 1.");
  PromiseQueue::Options options{.keep = keep, .callback = callback(o, "onStep"), .abort = abort_option(o)};
  options.share = share;
  return options;
}

std::function<void(const jobs::SearchProgress&)> notifier(const Progress& progress) {
  return [&progress](const jobs::SearchProgress& step) {
    progress.notify([step](Napi::Env e) -> std::vector<napi_value> {
      return {Napi::Number::New(e, static_cast<double>(step.steps)), Napi::Number::New(e, step.loss),
              Napi::Number::New(e, step.subject), Napi::Number::New(e, step.prior), Napi::Number::New(e, step.milliseconds)};
    });
  };
}

Settle settle(StepResult result) {
  return [result = std::move(result)](Napi::Env e) -> Napi::Value {
    Napi::Object value = Napi::Object::New(e);
    value.Set("loss", Napi::Number::New(e, result.loss));
    value.Set("rows", to_array(e, result.rows));
    return value;
  };
}

Napi::Value plan_value(Napi::Env env, const jobs::Plan& plan) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("peak", Napi::Number::New(env, static_cast<double>(plan.peak)));
  result.Set("held", Napi::Number::New(env, static_cast<double>(plan.held)));
  return result;
}

SavedState::SavedState(const Napi::CallbackInfo& info, Napi::Object owner) : keep(Napi::Object::New(info.Env())) {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    invalid(info.Env(), "A saved state must be a Buffer.");  // IsBuffer() is true of arrays of anything
  const auto buffer = info[0].As<Napi::Buffer<std::byte>>();
  keep.Set("owner", owner);
  keep.Set("state", buffer);
  bytes = std::span(buffer.Data(), buffer.Length());
}

}  // namespace cones::addon
