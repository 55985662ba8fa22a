#include "model/model.h"

#include <string>

#include "base/error.h"
#include "concepts/search.h"
#include "concepts/search_data.h"
#include "kernels/kernels.h"
#include "ops/stored_gradients.h"

namespace cones {

Model::Model(const ModelOptions& options)
    : options_(options),
      memory_(Memory::create(options.memory_limit)),
      pool_(std::make_shared<ThreadPool>(options.threads)),
      text_weights_(std::make_unique<Weights>(options.files.text)),
      unet_weights_(std::make_unique<Weights>(options.files.unet)),
      vae_weights_(std::make_unique<Weights>(options.files.vae)) {
  const Context load = context(nullptr);
  text_ = std::make_unique<ClipText>(load, *text_weights_, options.text);
  unet_ = std::make_unique<UNet>(load, *unet_weights_, options.unet);
  vae_ = std::make_unique<Vae>(load, *vae_weights_, options.vae);
  text_weights_->check_all_used({"position_ids"});  // a buffer that old files carry
  unet_weights_->check_all_used();
  vae_weights_->check_all_used();
  weight_bytes_ = memory_->in_use();
  memory_->reset_peak();
}

Context Model::context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .pool = pool_, .kernels = best_kernels(), .aborted = aborted};
}

Context Model::planning_context() const {
  return Context{.memory = Memory::create_planning(), .pool = pool_, .kernels = best_kernels()};
}

const Parameter& Model::unet_parameter(const std::string& name) const {
  const Parameter* parameter = unet_weights_->used(name);
  if (parameter == nullptr) fail("CONES_OPTION_INVALID", "The UNet has no weight \"" + name + "\".");
  return *parameter;
}

Model::MemoryUse Model::memory() const {
  return {weight_bytes_, memory_->in_use(), memory_->peak(), options_.memory_limit};
}

void Model::require_memory(std::size_t bytes) const {
  const std::size_t in_use = memory_->in_use();
  if (in_use <= options_.memory_limit && bytes <= options_.memory_limit - in_use) return;
  const auto mib = [](std::size_t value) { return std::to_string(value >> 20) + " MiB"; };
  fail("CONES_OUT_OF_MEMORY", "The job needs " + mib(bytes) + " besides the " + mib(in_use) +
                                  " in use, more than the memory limit of " + mib(options_.memory_limit) +
                                  ". Use a smaller batch or picture, enable checkpointing, or raise memoryLimit.");
}

std::size_t Model::plan_denoise(index_t batch, index_t height, index_t width, index_t tokens) const {
  const Context context = planning_context();
  const UNetConfig& config = unet_->config();
  Tape tape(context);
  const KvView view;
  const TextKv text = unet_->project_text(tape, Var(context.empty({batch, tokens, config.cross_attention_dim})), view);
  const std::vector<double> timesteps(static_cast<std::size_t>(batch), 0.0);
  unet_->forward(tape, {.latents = Var(context.empty({batch, height, width, config.in_channels})),
                        .timesteps = timesteps, .text = text, .view = view});
  return context.memory->peak();
}

std::size_t Model::plan_search(const SearchData& data, const SearchOptions& options) const {
  const Context context = planning_context();
  ConceptSearch search(context, *unet_, options);
  search.step(context, data.batch(context, 0));
  return context.memory->peak();
}

std::size_t Model::plan_gradient(index_t batch, index_t height, index_t width, index_t tokens,
                                 bool checkpointing) const {
  const Context context = planning_context();
  const UNetConfig& config = unet_->config();
  std::vector<const Parameter*> all;
  for (const KvWeights* weights : unet_->kv_tensors()) all.push_back(&weights->parameter());
  StoredGradients stored(all);
  Tape tape(context, &stored);
  const KvView view;
  const TextKv text =
      unet_->project_text(tape, Var(context.empty({batch, tokens, config.cross_attention_dim}), true), view);
  const std::vector<double> timesteps(static_cast<std::size_t>(batch), 0.0);
  const Shape shape{batch, height, width, config.in_channels};
  const UNetInput input{.latents = Var(context.empty(shape), true), .timesteps = timesteps, .text = text, .view = view,
                        .checkpointing = checkpointing};
  const Var output = unet_->forward(tape, input);
  Tape::accumulate(context, output.gradient(), context.empty(output.shape()));
  tape.backward();
  return context.memory->peak();
}

std::size_t Model::plan_encode(index_t height, index_t width) const {
  const Context context = planning_context();
  Tape tape(context);
  vae_->encode(tape, Var(context.empty({1, height, width, vae_->config().in_channels})));
  return context.memory->peak();
}

std::size_t Model::plan_decode(index_t height, index_t width) const {
  const Context context = planning_context();
  Tape tape(context);
  vae_->decode(tape, Var(context.empty({1, height, width, vae_->config().latent_channels})));
  return context.memory->peak();
}

}  // namespace cones
