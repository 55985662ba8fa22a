// NativeModel's jobs around the loss: gradients of chosen tensors, losses for reports, the start of a concept search.
#include <algorithm>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/model.h"
#include "addon/search.h"
#include "base/error.h"
#include "diffusion/training_batch.h"
#include "ops/mse_loss.h"
#include "ops/stored_gradients.h"

namespace cones::addon {
namespace {

std::vector<const Parameter*> unet_parameters(const Model& model, const std::vector<std::string>& names) {
  std::vector<const Parameter*> parameters;
  for (const std::string& name : names) {
    const Parameter* parameter = &model.unet_parameter(name);
    if (std::find(parameters.begin(), parameters.end(), parameter) != parameters.end())
      fail("CONES_OPTION_INVALID", "The gradient of \"" + name + "\" is wanted twice. Name every weight once.");
    parameters.push_back(parameter);
  }
  return parameters;
}

// Zeros where the loss does not depend on a tensor.
std::vector<float> gradient_values(const Tensor& gradient, index_t size) {
  return gradient.defined() ? to_vector(gradient) : std::vector<float>(static_cast<std::size_t>(size));
}

// Makes the gradient JavaScript's own: zeros where the loss does not depend on the tensor, a copy where others have it, too.
void give_away(const Context& context, Tensor& gradient, const Shape& shape) {
  if (!gradient.defined()) gradient = context.zeros(shape);
  if (gradient.give_away()) return;
  const Tensor copy = context.empty(shape);
  std::copy_n(gradient.data(), gradient.size(), copy.data());
  copy.give_away();
  gradient = copy;
}

}  // namespace

Napi::Value NativeModel::gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  struct Wants {
    bool latents, embeddings, checkpointing;
  };
  return run(
      env, o, nullptr,
      [m = model(env), in = LatentArguments(o, *model(env)), timesteps = elements<double>(o, "timesteps"),
       target = elements<float>(o, "target"), weights = elements<double>(o, "weights"),
       tensors = strings(o, "tensors"),
       wants = Wants{boolean(o, "wantLatents"), boolean(o, "wantEmbeddings"), boolean(o, "checkpointing")}](
          const std::atomic<bool>& aborted, const Progress&) -> Settle {
        const Context context = m->context(&aborted);
        in.check_rows(timesteps.size(), "timesteps");
        in.check_rows(weights.size(), "weights");
        const std::vector<const Parameter*> parameters = unet_parameters(*m, tensors);
        m->require_memory(m->plan_gradient(in.shape[0], in.shape[1], in.shape[2], in.tokens, parameters,
                                           wants.checkpointing));

        StoredGradients stored(parameters);
        Tape tape(context, &stored);
        const KvView view{.masks = mask_pointers(in.masks)};
        const Var latents(in.latent_tensor(context), wants.latents);
        const Var embeddings(in.text_tensor(context, *m), wants.embeddings);
        const TextKv text = m->unet().project_text(tape, embeddings, view);
        const UNetInput input{.latents = latents, .timesteps = timesteps, .text = text, .view = view,
                              .checkpointing = wants.checkpointing};
        const Var output = m->unet().forward(tape, input);
        const MseLoss loss = mse_loss(context, output.value(), to_channels_last(context, target, in.shape), weights, true);
        Tape::accumulate(context, output.gradient(), loss.gradient);
        tape.backward();

        std::vector<Tensor> gradients = std::move(stored.gradients());
        for (std::size_t i = 0; i < parameters.size(); ++i) give_away(context, gradients[i], parameters[i]->shape);
        std::vector<float> of_latents, of_embeddings;
        if (wants.latents) of_latents = to_channels_first(latents.gradient()->tensor.reshape(in.shape));
        if (wants.embeddings) of_embeddings = to_vector(embeddings.gradient()->tensor);

        return [loss, wants, gradients = std::move(gradients), of_latents = std::move(of_latents),
                of_embeddings = std::move(of_embeddings)](Napi::Env e) mutable -> Napi::Value {
          Napi::Object result = Napi::Object::New(e);
          result.Set("loss", Napi::Number::New(e, loss.loss));
          result.Set("rows", to_array(e, loss.means));
          Napi::Array list = Napi::Array::New(e, gradients.size());
          for (std::uint32_t i = 0; i < gradients.size(); ++i) list.Set(i, hand_over(e, gradients[i]));
          result.Set("gradients", list);
          if (wants.latents) result.Set("latents", hand_over(e, std::move(of_latents)));
          if (wants.embeddings) result.Set("embeddings", hand_over(e, std::move(of_embeddings)));
          return result;
        };
      });
}

Napi::Value NativeModel::token_gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  return run(env, o, nullptr,
             [m = model(env), ids = elements<std::int32_t>(o, "ids"), tokens = elements<std::int32_t>(o, "tokens"),
              rows = has(o, "rows") ? integer(o, "rows", 1, 1 << 16) : 1, upstream = elements<float>(o, "upstream")](
                 const std::atomic<bool>& aborted, const Progress&) -> Settle {
               const Context context = m->context(&aborted);
               const index_t length = equal_rows(ids, rows);
               const index_t width = m->text().config().hidden_size;
               Tape tape(context, nullptr);
               const Var embeddings(m->text().token_rows(context, tokens), true);
               const Var states = m->text().forward(tape, ids, rows, length, embeddings, tokens);
               Tape::accumulate(context, states.gradient(), to_tensor(context, upstream, {rows, length, width}));
               tape.backward();
               const auto size = static_cast<index_t>(tokens.size()) * width;
               return [values = gradient_values(embeddings.gradient()->tensor, size)](Napi::Env e) {
                 return to_array(e, values);
               };
             });
}

Napi::Value NativeModel::loss(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  const int channels = model(env)->unet().config().in_channels;
  const Shape shape = latent_shape(o, 2 * index_t{channels});
  return run(
      env, o, nullptr,
      [m = model(env), shape, moments = elements<float>(o, "moments"), embeddings = elements<float>(o, "embeddings"),
       tokens = integer(o, "tokens", 1, kMaxTokens), timesteps = elements<double>(o, "timesteps"),
       alphas = elements<double>(o, "alphasCumprod"), scale = number(o, "latentScale"),
       prediction = text(o, "prediction") == "v_prediction" ? Prediction::v_prediction : Prediction::epsilon,
       noise_seed = seed(o, "seed"), masks = mask_rows(o, "masks", shape[0], *model(env))](
          const std::atomic<bool>& aborted, const Progress&) -> Settle {
        const Context context = m->context(&aborted);
        if (static_cast<index_t>(timesteps.size()) != shape[0])
          fail("CONES_OPTION_INVALID", "timesteps must have one element per batch row.");
        m->require_memory(m->plan_denoise(shape[0], shape[1], shape[2], tokens));
        std::vector<NoisedRow> rows;
        for (index_t b = 0; b < shape[0]; ++b) {
          const double t = timesteps[static_cast<std::size_t>(b)];
          if (!(t >= 0 && t < static_cast<double>(alphas.size())))
            fail("CONES_OPTION_INVALID", "A timestep lies outside the training schedule.");
          const auto normals = static_cast<std::uint64_t>(shape[1] * shape[2] * shape[3]);
          rows.push_back({b, static_cast<int>(t), {noise_seed, static_cast<std::uint64_t>(b) * normals}});
        }
        TrainingBatch batch;
        make_noised_rows(context, to_channels_last(context, moments, shape), scale, alphas, prediction, rows, batch);

        Tape tape(context);
        const KvView view{.masks = mask_pointers(masks)};
        const index_t width = m->unet().config().cross_attention_dim;
        const TextKv text =
            m->unet().project_text(tape, Var(to_tensor(context, embeddings, {shape[0], tokens, width})), view);
        const Var output = m->unet().forward(
            tape, {.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = view});
        const std::vector<double> ones(timesteps.size(), 1.0);
        const MseLoss result = mse_loss(context, output.value(), batch.target, ones, false);
        return [means = result.means](Napi::Env e) { return to_array(e, means); };
      });
}

Napi::Value NativeModel::plan_gradient(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  const Shape shape = latent_shape(o, 1);
  const index_t tokens = integer(o, "tokens", 1, kMaxTokens);
  const std::vector<std::string> names = strings(o, "tensors");
  const bool checkpointing = boolean(o, "checkpointing");
  const std::size_t bytes = guarded(env, [&] {
    const Model& m = *model(env);
    return m.plan_gradient(shape[0], shape[1], shape[2], tokens, unet_parameters(m, names), checkpointing);
  });
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
