#include "model/model.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "concepts/search.h"
#include "concepts/search_data.h"
#include "cpu/backend.h"
#include "diffusion/sampler.h"
#include "ops/mse_loss.h"
#include "ops/stored_gradients.h"

namespace cones {
namespace {

// Pixels of one pass through the autoencoder for each thread, two pictures of 64 × 64: more gain nothing and leave the
// cache. At least one picture.
constexpr index_t kPassPixels = 2 * 64 * 64;

template <class Plan>
index_t pictures_per_pass(int threads, index_t batch, index_t pixels, std::size_t available, Plan plan) {
  index_t pictures = std::clamp<index_t>(threads * kPassPixels / pixels, 1, batch);
  while (pictures > 1 && plan(pictures) > available) --pictures;
  return pictures;
}

}  // namespace

Model::Model(const ModelOptions& options)
    : options_(options),
      memory_(Memory::create(options.memory_limit)),
      backend_(cpu_backend(options.threads)),
      text_weights_(std::make_unique<Weights>(options.files.text)),
      unet_weights_(std::make_unique<Weights>(options.files.unet)),
      vae_weights_(std::make_unique<Weights>(options.files.vae)) {
  const Context load = context(nullptr);
  text_ = std::make_unique<ClipText>(load, *text_weights_, options.text);
  unet_ = std::make_unique<UNet>(load, *unet_weights_, options.unet);
  vae_ = std::make_unique<Vae>(load, *vae_weights_, options.vae);
  // A buffer that old files carry; the projection of a CLIPTextModelWithProjection, which the UNet does not see.
  text_weights_->check_all_used({"position_ids", "text_projection.weight"});
  unet_weights_->check_all_used();
  vae_weights_->check_all_used();
  weight_bytes_ = memory_->in_use();
  memory_->reset_peak();
}

Context Model::context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .backend = backend_, .aborted = aborted};
}

Context Model::planning_context() const {
  return context(nullptr).plan();
}

const Parameter& Model::unet_parameter(const std::string& name) const {
  const Parameter* parameter = unet_weights_->used(name);
  if (parameter == nullptr) fail("CONES_OPTION_INVALID", "The UNet has no weight \"" + name + "\".");
  return *parameter;
}

void Model::check_unchanged() const {
  for (const Weights* weights : {text_weights_.get(), unet_weights_.get(), vae_weights_.get()}) weights->check_unchanged();
}

Model::MemoryUse Model::memory() const {
  return {weight_bytes_, memory_->in_use(), memory_->peak(), options_.memory_limit};
}

std::size_t Model::available_memory() const {
  return options_.memory_limit - std::min(memory_->in_use(), options_.memory_limit);
}

void Model::require_memory(std::size_t bytes) const {
  if (bytes <= available_memory()) return;
  const std::size_t in_use = memory_->in_use();
  const auto mib = [](std::size_t value) { return std::to_string(value >> 20) + " MiB"; };
  throw NotNow("CONES_OUT_OF_MEMORY", "The job needs " + mib(bytes) + " besides the " + mib(in_use) +
                                  " in use, more than the memory limit of " + mib(options_.memory_limit) +
                                  ". Use a smaller batch or picture, enable checkpointing, or raise memoryLimit.");
}

std::shared_ptr<void> Model::share_memory(std::size_t held, std::size_t step) const {
  require_memory(held + std::max(step, steps_->empty() ? 0 : *steps_->rbegin()));
  const auto mine = steps_->insert(step);
  return std::shared_ptr<void>(nullptr, [all = steps_, mine](void*) { all->erase(mine); });
}

index_t Model::encode_pass(index_t batch, index_t height, index_t width, std::size_t available) const {
  return pictures_per_pass(options_.threads, batch, height * width, available,
                           [&](index_t pictures) { return plan_encode(pictures, height, width); });
}

index_t Model::decode_pass(index_t batch, index_t height, index_t width, std::size_t available) const {
  const index_t pixels = height * width * vae_->downscale() * vae_->downscale();
  return pictures_per_pass(options_.threads, batch, pixels, available,
                           [&](index_t pictures) { return plan_decode(pictures, height, width); });
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

std::size_t Model::plan_text(index_t rows, index_t tokens) const {
  const Context context = planning_context();
  Tape tape(context);
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(rows * tokens), 0);
  text_->forward(tape, ids, rows, tokens);
  return context.memory->peak();
}

std::size_t Model::plan_sample(index_t batch, index_t height, index_t width, index_t tokens, bool guided) const {
  return plan_together({{batch, guided}}, height, width, tokens).peak;
}

Model::SamplePlan Model::plan_together(const std::vector<SampleRows>& calls, index_t height, index_t width,
                                       index_t tokens) const {
  const Context context = planning_context();
  const UNetConfig& config = unet_->config();
  std::vector<std::unique_ptr<Sampling>> samplings;
  std::vector<Sampling*> together;
  for (const auto& [batch, guided] : calls) {
    const Shape text{batch, tokens, config.cross_attention_dim};
    SampleInput input;
    input.latents = context.empty({batch, height, width, config.in_channels});
    input.embeddings = context.empty(text);
    if (guided) input.negative_embeddings = context.empty(text);
    input.guidance = guided ? 2.0 : 1.0;
    input.steps.resize(2);  // the second holds the first's prediction, as all others do
    samplings.push_back(std::make_unique<Sampling>(context, *unet_, std::move(input)));
    together.push_back(samplings.back().get());
  }
  for (int step = 0; step < 2; ++step) Sampling::advance(context, *unet_, together);
  return {context.memory->peak(), context.memory->in_use()};
}

Model::SearchPlan Model::plan_search(const Shape& moments, const Shape& embeddings, int rows,
                                     const SearchOptions& options, const IdentifierOptions* identifier) const {
  const Context context = planning_context();
  SearchDataOptions data;
  data.moments = context.empty(moments);
  data.embeddings = context.empty(embeddings);
  data.subjects = moments[0];
  data.captions.assign(static_cast<std::size_t>(moments[0]), {0});
  data.subject_batch = rows;
  data.prior_batch = 0;
  data.alphas_cumprod = {1.0};
  data.max_timestep = 1;
  const SearchData pictures(std::move(data));
  ConceptSearch search(context, *unet_, options);
  std::optional<LearnedIdentifier> learned;
  if (identifier != nullptr) learned.emplace(context, *text_, *identifier);
  // The first step packs backward's weights as it goes; all later ones have them from the start.
  for (int step = 0; step < 2; ++step) search.step(context, pictures.batch(context, step), learned ? &*learned : nullptr);
  return {context.memory->peak(), context.memory->in_use()};
}

std::size_t Model::plan_gradient(index_t batch, index_t height, index_t width, index_t tokens,
                                 const std::vector<const Parameter*>& parameters, bool checkpointing) const {
  const Context context = planning_context();
  const UNetConfig& config = unet_->config();
  StoredGradients stored(parameters);
  Tape tape(context, &stored);
  const KvView view;
  const TextKv text =
      unet_->project_text(tape, Var(context.empty({batch, tokens, config.cross_attention_dim}), true), view);
  const std::vector<double> timesteps(static_cast<std::size_t>(batch), 0.0);
  const Shape shape{batch, height, width, config.in_channels};
  const UNetInput input{.latents = Var(context.empty(shape), true), .timesteps = timesteps, .text = text, .view = view,
                        .checkpointing = checkpointing};
  const Var output = unet_->forward(tape, input);
  const std::vector<double> weights(static_cast<std::size_t>(batch), 1.0);
  const MseResult loss = mse_loss(context, output.value(), context.empty(shape), weights, true);
  Tape::accumulate(context, output.gradient(), loss.gradient);
  tape.backward();
  return context.memory->peak();
}

std::size_t Model::plan_encode(index_t pictures, index_t height, index_t width) const {
  const Context context = planning_context();
  Tape tape(context);
  vae_->encode(tape, Var(context.empty({pictures, height, width, vae_->config().in_channels})));
  return context.memory->peak();
}

std::size_t Model::plan_decode(index_t pictures, index_t height, index_t width) const {
  const Context context = planning_context();
  Tape tape(context);
  vae_->decode(tape, Var(context.empty({pictures, height, width, vae_->config().latent_channels})));
  return context.memory->peak();
}

}  // namespace cones
