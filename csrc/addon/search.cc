#include "addon/search.h"

#include <optional>
#include <span>
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"

namespace cones::addon {
namespace {

Napi::Value index_arrays(Napi::Env env, const std::vector<std::vector<std::uint32_t>>& lists) {
  Napi::Array result = Napi::Array::New(env, lists.size());
  for (std::uint32_t i = 0; i < lists.size(); ++i) result.Set(i, to_array(env, lists[i]));
  return result;
}

Ranking ranking_of(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "displacement") return Ranking::displacement;
  if (name == "score") return Ranking::score;
  invalid(value.Env(), "Neurons are ranked by \"displacement\" or \"score\".");
}

double number_argument(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) invalid(value.Env(), std::string(name) + " must be a number.");
  return value.As<Napi::Number>().DoubleValue();
}

Optimizer optimizer_of(const Napi::Object& o) { return text(o, "optimizer") == "sgd" ? Optimizer::sgd : Optimizer::adam; }

std::vector<int> searched_tensors(const Napi::Object& o) {
  const auto indices = elements<std::int32_t>(o, "tensors");
  return {indices.begin(), indices.end()};
}

SearchOptions search_options(const Napi::Object& o) {
  SearchOptions options;
  options.algorithm = text(o, "algorithm") == "1" ? Algorithm::one : Algorithm::a2;
  options.optimizer = optimizer_of(o);
  options.learning_rate = number(o, "learningRate");
  options.beta1 = number(o, "beta1");
  options.beta2 = number(o, "beta2");
  options.epsilon = number(o, "epsilon");
  options.clamp = boolean(o, "clamp");
  options.shut = integer(o, "shut", 0, std::int64_t{1} << 40);
  options.ramp = integer(o, "ramp", 0, std::int64_t{1} << 40);
  options.checkpointing = checkpointing(o);
  options.tensors = searched_tensors(o);
  if (has(o, "within")) options.within = index_lists(o.Get("within"), "within");
  return options;
}

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

/// Empty unless an identifier is learned.
std::optional<IdentifierOptions> identifier_options(const Napi::Object& o, index_t tokens, int rows) {
  if (!has(o, "identifier")) return {};
  const Napi::Object from = object(o, "identifier");
  IdentifierOptions options;
  options.token = static_cast<std::int32_t>(integer(from, "token", 0, INT32_MAX));
  options.start = elements<std::int32_t>(from, "start");
  const auto captions = elements<std::int32_t>(from, "captions");
  options.captions.assign(captions.begin(), captions.end());
  options.ids = elements<std::int32_t>(from, "ids");
  options.most_rows = rows;
  options.learning_rate = number(from, "learningRate");
  if (has(from, "normLimit")) options.norm_limit = number(from, "normLimit");
  if (options.ids.size() != captions.size() * static_cast<std::size_t>(tokens))
    invalid(o.Env(), "identifier.ids must be [captions, tokens].");
  return options;
}

}  // namespace

Napi::Function NativeSearch::define(Napi::Env env) {
  return DefineClass(env, "NativeSearch",
                     {InstanceAccessor("step", &NativeSearch::step, nullptr),
                      InstanceMethod("run", &NativeSearch::run),
                      InstanceMethod("update", &NativeSearch::update),
                      InstanceMethod("saveState", &NativeSearch::save_state),
                      InstanceMethod("loadState", &NativeSearch::load_state),
                      InstanceMethod("embedding", &NativeSearch::embedding),
                      InstanceMethod("ranking", &NativeSearch::ranking),
                      InstanceMethod("selectThreshold", &NativeSearch::select_threshold),
                      InstanceMethod("selectCount", &NativeSearch::select_count),
                      InstanceMethod("dispose", &NativeSearch::dispose)});
}

NativeSearch::NativeSearch(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeSearch is made by createSearch().");
  const Created& created = *info[0].As<Napi::External<Created>>().Data();
  job_ = created.job;
  queue_ = created.queue;
}

Work NativeSearch::create(const Napi::Object& o, std::shared_ptr<const Model> model, PromiseQueue* queue) {
  const UNetConfig& config = model->unet().config();
  jobs::SearchInput in;
  in.shape = latent_shape(o, 2 * index_t{config.in_channels});
  in.data = data_options(o);
  in.tokens = integer(o, "tokens", 1, kMaxTokens);
  in.identifier = identifier_options(o, in.tokens, in.data.subject_batch + in.data.prior_batch);
  in.options = search_options(o);
  in.moments = elements<float>(o, "moments");
  in.embeddings = elements<float>(o, "embeddings");
  in.captions = static_cast<index_t>(in.embeddings.size()) / (in.tokens * config.cross_attention_dim);
  return [model = std::move(model), queue, in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return [job = std::make_shared<jobs::SearchJob>(model, in, aborted), queue](Napi::Env env) -> Napi::Value {
      Created created{job, queue->shared_from_this()};
      return Instance::of(env).search_class.New({Napi::External<Created>::New(env, &created)});
    };
  };
}

Napi::Value NativeSearch::plan(const Napi::Object& o, const Model& model) {
  const Shape one = latent_shape(o, 2 * index_t{model.unet().config().in_channels});  // batch: rows per step
  const Shape moments{integer(o, "pictures", 1, 1 << 20), one[1], one[2], one[3]};
  const index_t captions = integer(o, "captions", 1, 1 << 20), tokens = integer(o, "tokens", 1, kMaxTokens);
  SearchOptions options;
  options.optimizer = optimizer_of(o);
  options.checkpointing = checkpointing(o);
  options.tensors = searched_tensors(o);
  options.shut = 1;  // as any search may be straight-through, the default, which holds its cut
  const int identifier_rows = has(o, "identifierRows") ? static_cast<int>(integer(o, "identifierRows", 0, 1024)) : 0;
  const jobs::Plan plan = guarded(o.Env(), [&] {
    return jobs::plan_search(
        model, jobs::search_sizes(moments, captions, tokens, static_cast<int>(one[0]), identifier_rows, options));
  });
  Napi::Object result = Napi::Object::New(o.Env());
  result.Set("peak", Napi::Number::New(o.Env(), static_cast<double>(plan.peak)));
  result.Set("held", Napi::Number::New(o.Env(), static_cast<double>(plan.held)));
  return result;
}

const std::shared_ptr<jobs::SearchJob>& NativeSearch::job(Napi::Env env) const {
  if (!job_) throw make_error(env, "CONES_DISPOSED", "The search was disposed. Start another one.");
  return job_;
}

Napi::Value NativeSearch::step(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(job(info.Env())->state().search().steps_done()));
}

Napi::Value NativeSearch::queue(Napi::Env env, PromiseQueue::Options options, Work work) {
  options.series = job(env).get();
  return queue_->add(env, options, std::move(work));
}

Napi::Value NativeSearch::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "run needs its options.");
  const auto o = info[0].As<Napi::Object>();
  const double share = has(o, "share") ? number(o, "share") : 0.5;
  if (!(share > 0 && share < 1)) invalid(env, "share must lie between 0 and 1.");
  PromiseQueue::Options options{.keep = Value(), .callback = callback(o, "onStep"), .abort = abort_option(o)};
  options.share = share;
  // A step whose backward has begun is taken to its end, but nobody waits for that.
  options.unstoppable = std::make_shared<std::atomic<bool>>(true);
  return queue(env, std::move(options),
               [search_run = jobs::SearchRun(job(env), integer(o, "steps", 0, std::int64_t{1} << 40))](
                   const std::atomic<bool>& aborted, const Progress& progress) mutable -> std::optional<Settle> {
                 const auto stepped = [&progress](const jobs::SearchProgress& step) {
                   progress.notify([step](Napi::Env e) -> std::vector<napi_value> {
                     return {Napi::Number::New(e, static_cast<double>(step.steps)), Napi::Number::New(e, step.loss),
                             Napi::Number::New(e, step.subject), Napi::Number::New(e, step.prior),
                             Napi::Number::New(e, step.milliseconds)};
                   });
                 };
                 if (!search_run.step(aborted, stepped)) return std::nullopt;
                 return [](Napi::Env e) { return e.Undefined(); };
               });
}

Napi::Value NativeSearch::update(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "update needs its options.");
  const auto o = info[0].As<Napi::Object>();
  if (has(o, "masks")) invalid(env, "A search's update takes no masks: what is shut is what it searches.");
  if (job(env)->state().identifier()) invalid(env, "A search that learns its identifier encodes its own captions: use run().");
  jobs::TrainingInput in;
  read_training(o, job(env)->model(), in);
  return queue(env, {.keep = Value(), .callback = {}, .abort = abort_option(o)},
               [j = job(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
                 return [result = j->update(in, aborted)](Napi::Env e) -> Napi::Value {
                   Napi::Object value = Napi::Object::New(e);
                   value.Set("loss", Napi::Number::New(e, result.loss));
                   value.Set("rows", to_array(e, result.rows));
                   return value;
                 };
               });
}

Napi::Value NativeSearch::save_state(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env())](const std::atomic<bool>&, const Progress&) -> Settle {
               return [bytes = j->save()](Napi::Env e) mutable { return hand_over(e, std::move(bytes)); };
             });
}

Napi::Value NativeSearch::load_state(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    invalid(info.Env(), "A search's state must be a Buffer.");  // IsBuffer() is true of arrays of anything
  // Not copied: for a large model that would take the JavaScript thread half a second.
  const auto buffer = info[0].As<Napi::Buffer<std::byte>>();
  Napi::Object keep = Napi::Object::New(info.Env());
  keep.Set("search", Value());
  keep.Set("state", buffer);
  return queue(info.Env(), {.keep = keep},
             [j = job(info.Env()), bytes = std::span(buffer.Data(), buffer.Length())](
                 const std::atomic<bool>&, const Progress&) -> Settle {
               j->load(bytes);
               return [](Napi::Env e) { return e.Undefined(); };
             });
}

Napi::Value NativeSearch::embedding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!job(env)->state().identifier()) invalid(env, "This search learns no identifier.");
  return queue(env, {.keep = Value()}, [j = job(env)](const std::atomic<bool>&, const Progress&) -> Settle {
    return [values = j->embedding()](Napi::Env e) { return to_array(e, values); };
  });
}

Napi::Value NativeSearch::ranking(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env()), by = ranking_of(info[0])](const std::atomic<bool>&, const Progress&) -> Settle {
               return [values = j->ranking(by)](Napi::Env e) mutable -> Napi::Value {
                 Napi::Array result = Napi::Array::New(e, values.size());
                 for (std::uint32_t i = 0; i < values.size(); ++i) result.Set(i, hand_over(e, std::move(values[i])));
                 return result;
               };
             });
}

Napi::Value NativeSearch::select_threshold(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env()), by = ranking_of(info[0]), threshold = number_argument(info[1], "threshold")](
                 const std::atomic<bool>&, const Progress&) -> Settle {
               return [indices = j->select_threshold(by, threshold)](Napi::Env e) {
                 return index_arrays(e, indices);
               };
             });
}

Napi::Value NativeSearch::select_count(const Napi::CallbackInfo& info) {
  const double count = number_argument(info[1], "count");
  if (!(count >= 0 && count <= 1e15)) invalid(info.Env(), "count must be a whole number, 0 or more.");
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env()), by = ranking_of(info[0]), count](const std::atomic<bool>& aborted, const Progress&) -> Settle {
               return [selection = j->select_count(by, static_cast<std::int64_t>(count), aborted)](Napi::Env e) -> Napi::Value {
                 Napi::Object result = Napi::Object::New(e);
                 result.Set("indices", index_arrays(e, selection.indices));
                 result.Set("threshold", Napi::Number::New(e, selection.threshold));
                 return result;
               };
             });
}

Napi::Value NativeSearch::dispose(const Napi::CallbackInfo& info) {
  if (job_) job_->give_up();
  job_ = nullptr;  // a running job keeps its own reference until it ends
  return info.Env().Undefined();
}

}  // namespace cones::addon
