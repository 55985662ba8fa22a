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

Work NativeTraining::create(const Napi::Object& o, std::shared_ptr<const Model> model, PromiseQueue* queue) {
  jobs::TrainInput in;
  read_data(o, *model, in);
  in.identifier = identifier_options(o, in);
  in.options = trainer_options(o);
  return creation(std::move(model), queue, std::move(in), &Instance::training_class);
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
