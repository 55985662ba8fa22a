#include "addon/search.h"

#include <optional>
#include <span>
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/training_arguments.h"

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

Work NativeSearch::create(const Napi::Object& o, std::shared_ptr<const Model> model, PromiseQueue* queue) {
  jobs::SearchInput in;
  read_data(o, *model, in);
  in.identifier = identifier_options(o, in);
  in.options = search_options(o);
  return creation(std::move(model), queue, std::move(in), &Instance::search_class);
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
  return plan_value(o.Env(), guarded(o.Env(), [&] {
    return jobs::plan_search(
        model, jobs::search_sizes(moments, captions, tokens, static_cast<int>(one[0]), identifier_rows, options));
  }));
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
