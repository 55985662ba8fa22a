#include "addon/search.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "base/error.h"

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
  options.checkpointing = boolean(o, "checkpointing");
  options.tensors = searched_tensors(o);
  if (has(o, "within")) options.within = index_lists(o.Get("within"), "within");
  return options;
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
  if (options.ids.size() != captions.size() * static_cast<std::size_t>(tokens))
    invalid(o.Env(), "identifier.ids must be [captions, tokens].");
  return options;
}

}  // namespace

std::vector<std::byte> SearchJob::save() const {
  std::vector<std::byte> state = search->save();
  if (identifier) {
    const std::vector<std::byte> more = identifier->save();
    state.insert(state.end(), more.begin(), more.end());
  }
  return state;
}

void SearchJob::load(std::span<const std::byte> state) {
  if (!identifier) return search->load(state);
  const std::size_t own = std::min(search->state_size(), state.size());
  const std::vector<std::byte> before = identifier->save();
  identifier->load(state.subspan(own));
  try {
    search->load(state.first(own));
  } catch (...) {
    identifier->load(before);
    throw;
  }
}

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

Work NativeSearch::create(const Napi::Object& o, std::shared_ptr<Model> model, JobQueue* queue) {
  const UNetConfig& config = model->unet().config();
  const Shape shape = latent_shape(o, 2 * index_t{config.in_channels});
  const auto offsets = elements<std::int32_t>(o, "captionOffsets");
  const auto flat = elements<std::int32_t>(o, "captions");
  std::vector<std::vector<int>> captions;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || static_cast<std::size_t>(offsets[i + 1]) > flat.size())
      invalid(o.Env(), "captionOffsets must ascend within captions.");
    captions.emplace_back(flat.begin() + offsets[i], flat.begin() + offsets[i + 1]);
  }
  SearchDataOptions data;
  data.subjects = integer(o, "subjects", 1, 1 << 20);
  data.latent_scale = number(o, "latentScale");
  data.captions = std::move(captions);
  data.subject_batch = static_cast<int>(integer(o, "subjectBatch", 1, 1024));
  data.prior_batch = static_cast<int>(integer(o, "priorBatch", 0, 1024));
  data.prior_weight = number(o, "priorWeight");
  data.alphas_cumprod = elements<double>(o, "alphasCumprod");
  data.prediction = text(o, "prediction") == "v_prediction" ? Prediction::v_prediction : Prediction::epsilon;
  data.min_timestep = static_cast<int>(integer(o, "minTimestep", 0, 1 << 20));
  data.max_timestep = static_cast<int>(integer(o, "maxTimestep", 1, 1 << 20));
  data.seed = seed(o, "seed");

  const index_t tokens = integer(o, "tokens", 1, kMaxTokens);
  const std::optional<IdentifierOptions> identifier = identifier_options(o, tokens, data.subject_batch + data.prior_batch);
  return [model = std::move(model), queue, shape, data = std::move(data), options = search_options(o),
          moments = elements<float>(o, "moments"), embeddings = elements<float>(o, "embeddings"), tokens,
          identifier](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    const Context context = model->context(&aborted);
    const index_t width = model->unet().config().cross_attention_dim;
    const Shape text{static_cast<index_t>(embeddings.size()) / (tokens * width), tokens, width};
    if (text[0] == 0) fail("CONES_OPTION_INVALID", "A search needs the text states of at least one caption.");
    const Model::SearchPlan plan =
        model->plan_search(shape, text, data.subject_batch + data.prior_batch, options, identifier ? &*identifier : nullptr);
    model->require_memory(plan.peak);
    const std::size_t before = model->available_memory();

    SearchDataOptions filled = data;
    filled.moments = to_channels_last(context, moments, shape);
    filled.embeddings = to_tensor(context, embeddings, text);
    auto job = std::make_shared<SearchJob>();
    job->model = model;
    job->data = std::make_unique<SearchData>(std::move(filled));
    job->search = std::make_unique<ConceptSearch>(context, model->unet(), options);
    if (identifier) job->identifier = std::make_unique<LearnedIdentifier>(context, model->text(), *identifier);
    // Another search may have been let go of meanwhile.
    const std::size_t after = std::min(model->available_memory(), before);
    job->still_to_hold = plan.held - std::min(before - after, plan.held);
    job->step_bytes = plan.peak - plan.held;
    return [job, queue](Napi::Env env) -> Napi::Value {
      Created created{job, queue->shared_from_this()};
      return Instance::of(env).search_class.New({Napi::External<Created>::New(env, &created)});
    };
  };
}

Napi::Value NativeSearch::plan(const Napi::Object& o, const Model& model) {
  const UNetConfig& config = model.unet().config();
  const Shape one = latent_shape(o, 2 * index_t{config.in_channels});  // batch: rows per step
  const Shape moments{integer(o, "pictures", 1, 1 << 20), one[1], one[2], one[3]};
  const Shape text{integer(o, "captions", 1, 1 << 20), integer(o, "tokens", 1, kMaxTokens), config.cross_attention_dim};
  SearchOptions options;
  options.optimizer = optimizer_of(o);
  options.checkpointing = boolean(o, "checkpointing");
  options.tensors = searched_tensors(o);
  IdentifierOptions identifier;
  identifier.most_rows = has(o, "identifierRows") ? static_cast<int>(integer(o, "identifierRows", 0, 1024)) : 0;
  identifier.start = {0};
  identifier.captions.assign(static_cast<std::size_t>(identifier.most_rows), 0);
  identifier.ids.assign(static_cast<std::size_t>(identifier.most_rows * text[1]), 0);
  const Model::SearchPlan plan = guarded(o.Env(), [&] {
    return model.plan_search(moments, text, static_cast<int>(one[0]), options,
                             identifier.most_rows > 0 ? &identifier : nullptr);
  });
  Napi::Object result = Napi::Object::New(o.Env());
  result.Set("peak", Napi::Number::New(o.Env(), static_cast<double>(plan.peak)));
  result.Set("held", Napi::Number::New(o.Env(), static_cast<double>(plan.held)));
  return result;
}

const std::shared_ptr<SearchJob>& NativeSearch::job(Napi::Env env) const {
  if (!job_) throw make_error(env, "CONES_DISPOSED", "The search was disposed. Start another one.");
  return job_;
}

Napi::Value NativeSearch::step(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(job(info.Env())->search->steps_done()));
}

Napi::Value NativeSearch::queue(Napi::Env env, JobQueue::Options options, Work work) {
  options.series = job(env).get();
  return queue_->add(env, options, std::move(work));
}

Napi::Value NativeSearch::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "run needs its options.");
  const auto o = info[0].As<Napi::Object>();
  return queue(env, {.keep = Value(), .callback = callback(o, "onStep"), .abort = abort_option(o)},
               [j = job(env), left = integer(o, "steps", 0, std::int64_t{1} << 40), memory = std::shared_ptr<void>()](
                   const std::atomic<bool>& aborted, const Progress& progress) mutable -> std::optional<Settle> {
                 const Settle nothing = [](Napi::Env e) { return e.Undefined(); };
                 if (left == 0) return nothing;
                 if (!memory) {
                   // Backward packs its weights when it first needs them, and a step that ends there is half a step. Between
                   // this and the first step's end remains a moment in which a change of the files does that.
                   j->model->check_unchanged();
                   memory = j->model->share_memory(j->still_to_hold, j->step_bytes);
                 }
                 const Context context = j->model->context(&aborted);
                 const int subjects = j->data->options().subject_batch;
                 const auto begin = std::chrono::steady_clock::now();
                 const TrainingBatch batch = j->data->batch(context, j->search->steps_done());
                 const StepResult result = j->search->step(context, batch, j->identifier.get());
                 j->still_to_hold = 0;
                 double subject = 0, prior = 0;
                 for (int r = 0; r < static_cast<int>(result.rows.size()); ++r)
                   (r < subjects ? subject : prior) += result.rows[static_cast<std::size_t>(r)];
                 subject /= subjects;
                 if (const int priors = static_cast<int>(result.rows.size()) - subjects; priors > 0) prior /= priors;
                 const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - begin;
                 progress.notify([done = j->search->steps_done(), loss = result.loss, subject, prior,
                                  time = ms.count()](Napi::Env e) -> std::vector<napi_value> {
                   return {Napi::Number::New(e, static_cast<double>(done)), Napi::Number::New(e, loss),
                           Napi::Number::New(e, subject), Napi::Number::New(e, prior), Napi::Number::New(e, time)};
                 });
                 context.check_aborted();
                 if (--left == 0) return nothing;
                 return std::nullopt;
               });
}

Napi::Value NativeSearch::update(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "update needs its options.");
  const auto o = info[0].As<Napi::Object>();
  if (has(o, "masks")) invalid(env, "A search's update takes no masks: what is shut is what it searches.");
  if (job(env)->identifier) invalid(env, "A search that learns its identifier encodes its own captions: use run().");
  return queue(env, {.keep = Value(), .callback = {}, .abort = abort_option(o)},
             [j = job(env), in = LatentArguments(o, *job(env)->model), target = elements<float>(o, "target"),
              timesteps = elements<double>(o, "timesteps"), weights = elements<double>(o, "weights")](
                 const std::atomic<bool>& aborted, const Progress&) -> Settle {
               j->model->check_unchanged();  // as in run()
               const Context context = j->model->context(&aborted);
               in.check_rows(timesteps.size(), "timesteps");
               in.check_rows(weights.size(), "weights");
               const TrainingBatch batch{.latents = in.latent_tensor(context),
                                         .target = to_channels_last(context, target, in.shape),
                                         .timesteps = timesteps,
                                         .weights = weights,
                                         .embeddings = in.text_tensor(context, *j->model),
                                         .texts = {},
                                         .captions = {}};
               const StepResult result = j->search->step(context, batch);
               return [result](Napi::Env e) -> Napi::Value {
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
  if (!job(env)->identifier) invalid(env, "This search learns no identifier.");
  return queue(env, {.keep = Value()}, [j = job(env)](const std::atomic<bool>&, const Progress&) -> Settle {
    return [values = to_vector(j->identifier->embedding())](Napi::Env e) { return to_array(e, values); };
  });
}

Napi::Value NativeSearch::ranking(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env()), by = ranking_of(info[0])](const std::atomic<bool>&, const Progress&) -> Settle {
               std::vector<std::vector<float>> values;
               for (std::size_t i = 0; i < j->search->size(); ++i) values.push_back(to_vector(j->search->ranking(by, i)));
               return [values = std::move(values)](Napi::Env e) mutable -> Napi::Value {
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
               return [indices = j->search->select_threshold(by, threshold)](Napi::Env e) {
                 return index_arrays(e, indices);
               };
             });
}

Napi::Value NativeSearch::select_count(const Napi::CallbackInfo& info) {
  const double count = number_argument(info[1], "count");
  if (!(count >= 0 && count <= 1e15)) invalid(info.Env(), "count must be a whole number, 0 or more.");
  return queue(info.Env(), {.keep = Value()},
             [j = job(info.Env()), by = ranking_of(info[0]), count](const std::atomic<bool>& aborted, const Progress&) -> Settle {
               const Context context = j->model->context(&aborted);
               return [selection = j->search->select_count(context, by, static_cast<std::int64_t>(count))](
                          Napi::Env e) -> Napi::Value {
                 Napi::Object result = Napi::Object::New(e);
                 result.Set("indices", index_arrays(e, selection.indices));
                 result.Set("threshold", Napi::Number::New(e, selection.threshold));
                 return result;
               };
             });
}

Napi::Value NativeSearch::dispose(const Napi::CallbackInfo& info) {
  job_ = nullptr;  // a running job keeps its own reference until it ends
  return info.Env().Undefined();
}

}  // namespace cones::addon
