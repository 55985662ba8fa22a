#include "addon/training.h"

#include <optional>
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/training_arguments.h"

namespace cones::addon {
namespace {

TrainerOptions::Weights trained_weights(const Napi::Object& o) {
  const std::string name = text(o, "weights");
  if (name == "none") return TrainerOptions::Weights::none;
  if (name == "kv") return TrainerOptions::Weights::kv;
  if (name == "unet") return TrainerOptions::Weights::unet;
  invalid(o.Env(), "weights must be \"none\", \"kv\" or \"unet\".");
}

/// What memory depends on.
TrainerOptions sizes_of_options(const Napi::Object& o) {
  TrainerOptions options;
  options.weights = trained_weights(o);
  if (options.weights == TrainerOptions::Weights::kv) {
    const auto tensors = elements<std::int32_t>(o, "tensors");
    options.tensors.assign(tensors.begin(), tensors.end());
  }
  options.first_token_fixed = boolean(o, "firstTokenFixed");
  options.checkpointing = checkpointing(o);
  return options;
}

TrainerOptions trainer_options(const Napi::Object& o) {
  TrainerOptions options = sizes_of_options(o);
  options.adam = {.learning_rate = number(o, "learningRate"),
                  .beta1 = number(o, "beta1"),
                  .beta2 = number(o, "beta2"),
                  .epsilon = number(o, "epsilon"),
                  .weight_decay = number(o, "weightDecay")};
  return options;
}

}  // namespace

Napi::Function NativeTraining::define(Napi::Env env) {
  return DefineClass(env, "NativeTraining",
                     {InstanceAccessor("step", &NativeTraining::step, nullptr),
                      InstanceMethod("run", &NativeTraining::run),
                      InstanceMethod("update", &NativeTraining::update),
                      InstanceMethod("saveState", &NativeTraining::save_state),
                      InstanceMethod("loadState", &NativeTraining::load_state),
                      InstanceMethod("embeddings", &NativeTraining::embeddings),
                      InstanceMethod("weights", &NativeTraining::weights),
                      InstanceMethod("dispose", &NativeTraining::dispose)});
}

NativeTraining::NativeTraining(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "NativeTraining is made by createTraining().");
  const Created& created = *info[0].As<Napi::External<Created>>().Data();
  job_ = created.job;
  queue_ = created.queue;
}

Work NativeTraining::create(const Napi::Object& o, std::shared_ptr<const Model> model, PromiseQueue* queue) {
  jobs::TrainInput in;
  read_data(o, *model, in);
  in.identifier = identifier_options(o, in);
  in.options = trainer_options(o);
  return [model = std::move(model), queue, in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
    return [job = std::make_shared<jobs::TrainJob>(model, in, aborted), queue](Napi::Env env) -> Napi::Value {
      Created created{job, queue->shared_from_this()};
      return Instance::of(env).training_class.New({Napi::External<Created>::New(env, &created)});
    };
  };
}

Napi::Value NativeTraining::plan(const Napi::Object& o, const Model& model) {
  const Shape one = latent_shape(o, 2 * index_t{model.unet().config().in_channels});  // batch: rows per step
  const Shape moments{integer(o, "pictures", 1, 1 << 20), one[1], one[2], one[3]};
  const index_t captions = integer(o, "captions", 1, 1 << 20), tokens = integer(o, "tokens", 1, kMaxTokens);
  jobs::TrainInput in;
  static_cast<jobs::DataInput&>(in) = jobs::data_sizes(moments, captions, tokens, static_cast<int>(one[0]));
  in.options = sizes_of_options(o);
  const int rows = static_cast<int>(integer(o, "identifierRows", 0, 1024));
  if (rows > 0) in.identifier = jobs::identifier_sizes(rows, tokens, static_cast<int>(integer(o, "identifiers", 1, 1024)));
  return plan_value(o.Env(), guarded(o.Env(), [&] { return jobs::plan_training(model, in); }));
}

const std::shared_ptr<jobs::TrainJob>& NativeTraining::job(Napi::Env env) const {
  if (!job_) throw make_error(env, "CONES_DISPOSED", "The training was disposed. Start another one.");
  return job_;
}

Napi::Value NativeTraining::step(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(job(info.Env())->state().trainer().steps_done()));
}

Napi::Value NativeTraining::queue(Napi::Env env, PromiseQueue::Options options, Work work) {
  options.series = job(env).get();
  return queue_->add(env, options, std::move(work));
}

Napi::Value NativeTraining::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "run needs its options.");
  const auto o = info[0].As<Napi::Object>();
  return queue(env, run_options(o, Value()),
               [train_run = jobs::TrainRun(job(env), integer(o, "steps", 0, std::int64_t{1} << 40))](
                   const std::atomic<bool>& aborted, const Progress& progress) mutable -> std::optional<Settle> {
                 if (!train_run.step(aborted, notifier(progress))) return std::nullopt;
                 return [](Napi::Env e) { return e.Undefined(); };
               });
}

Napi::Value NativeTraining::update(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) invalid(env, "update needs its options.");
  const auto o = info[0].As<Napi::Object>();
  if (has(o, "masks")) invalid(env, "A training's update takes no masks.");
  if (job(env)->state().identifier()) invalid(env, "A training that learns identifiers encodes its own captions: use run().");
  jobs::TrainingInput in;
  read_training(o, job(env)->model(), in);
  return queue(env, {.keep = Value(), .callback = {}, .abort = abort_option(o)},
               [j = job(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
                 return settle(j->update(in, aborted));
               });
}

Napi::Value NativeTraining::save_state(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()}, [j = job(info.Env())](const std::atomic<bool>&, const Progress&) -> Settle {
    return [bytes = j->save()](Napi::Env e) mutable { return hand_over(e, std::move(bytes)); };
  });
}

Napi::Value NativeTraining::load_state(const Napi::CallbackInfo& info) {
  const SavedState state(info, Value());
  return queue(info.Env(), {.keep = state.keep},
               [j = job(info.Env()), bytes = state.bytes](const std::atomic<bool>&, const Progress&) -> Settle {
                 j->load(bytes);
                 return [](Napi::Env e) { return e.Undefined(); };
               });
}

Napi::Value NativeTraining::embeddings(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!job(env)->state().identifier()) invalid(env, "This training learns no identifier.");
  return queue(env, {.keep = Value()}, [j = job(env)](const std::atomic<bool>&, const Progress&) -> Settle {
    return [values = j->embeddings()](Napi::Env e) { return to_array(e, values); };
  });
}

Napi::Value NativeTraining::weights(const Napi::CallbackInfo& info) {
  return queue(info.Env(), {.keep = Value()}, [j = job(info.Env())](const std::atomic<bool>&, const Progress&) -> Settle {
    return [weights = j->weights()](Napi::Env e) mutable -> Napi::Value {
      Napi::Array list = Napi::Array::New(e, weights.size());
      for (std::uint32_t i = 0; i < weights.size(); ++i) {
        jobs::TrainJob::Values& weight = weights[i];
        Napi::Array shape = Napi::Array::New(e, static_cast<std::size_t>(weight.shape.rank()));
        for (int d = 0; d < weight.shape.rank(); ++d)
          shape.Set(static_cast<std::uint32_t>(d), Napi::Number::New(e, static_cast<double>(weight.shape[d])));
        Napi::Object entry = Napi::Object::New(e);
        entry.Set("name", Napi::String::New(e, weight.name));
        entry.Set("shape", shape);
        entry.Set("values", hand_over(e, std::move(weight.values)));
        list.Set(i, entry);
      }
      return list;
    };
  });
}

Napi::Value NativeTraining::dispose(const Napi::CallbackInfo& info) {
  job_ = nullptr;  // a running job keeps its own reference until it ends
  return info.Env().Undefined();
}

}  // namespace cones::addon
