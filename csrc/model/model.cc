#include "model/model.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cones {
namespace {

// AsymmetricAutoencoderKL's encoder of what a mask leaves of a picture: here it decodes without.
const std::vector<std::string_view> kMaskEncoder = {
    "condition_encoder.layers.0.weight", "condition_encoder.layers.0.bias", "condition_encoder.layers.1.weight",
    "condition_encoder.layers.1.bias",   "condition_encoder.layers.2.weight", "condition_encoder.layers.2.bias",
    "condition_encoder.layers.3.weight", "condition_encoder.layers.3.bias", "condition_encoder.layers.4.weight",
    "condition_encoder.layers.4.bias"};

}  // namespace

Model::Model(const ModelOptions& options)
    : options_(options),
      memory_(options.place.planning ? Memory::create_planning(*options.place.device)
                                     : Memory::create(options.memory_limit, *options.place.device)),
      text_weights_(std::make_unique<Weights>(options.files.text)),
      unet_weights_(std::make_unique<Weights>(options.files.unet)),
      vae_weights_(std::make_unique<Weights>(options.files.vae)) {
  const Context load = context(nullptr);
  text_ = std::make_unique<ClipText>(load, *text_weights_, options.text);
  unet_ = std::make_unique<UNet>(load, *unet_weights_, options.unet);
  vae_ = std::make_unique<Vae>(vae_context(nullptr), *vae_weights_, options.vae);
  if (options.drafts) {
    drafts_weights_ = std::make_unique<Weights>(options.files.drafts);
    drafts_ = std::make_unique<Vae>(vae_context(nullptr), *drafts_weights_, *options.drafts);
    drafts_weights_->check_all_used(kMaskEncoder);
  }
  // A buffer that old files carry; the projection of a CLIPTextModelWithProjection, which the UNet does not see.
  text_weights_->check_all_used({"position_ids", "text_projection.weight"});
  unet_weights_->check_all_used();
  vae_weights_->check_all_used(kMaskEncoder);
  weight_bytes_ = memory_->in_use();
  memory_->reset_peak();
}

Context Model::context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .backend = options_.place.backend}.watching(aborted);
}

Context Model::vae_context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .backend = options_.place.autoencoder}.watching(aborted);
}

const Parameter& Model::unet_parameter(const std::string& name) const {
  const Parameter* parameter = unet_weights_->used(name);
  if (parameter == nullptr) fail("CONES_OPTION_INVALID", "The UNet has no weight \"" + name + "\".");
  return *parameter;
}

namespace {

/// Whether a weight is a matrix or a convolution that a layer multiplies with: not a norm's, nor a table of embeddings.
bool is_layer(const Parameter& weight) { return weight.shape.rank() >= 2 && !weight.name.ends_with("_embedding.weight"); }

}  // namespace

std::vector<const Parameter*> Model::adaptable(bool of_text) const {
  std::vector<const Parameter*> found;
  for (const Parameter* weight : (of_text ? text_weights_ : unet_weights_)->all_used())
    if (is_layer(*weight)) found.push_back(weight);
  return found;
}

Model::LayerWeights Model::adaptable(bool of_text, const std::string& name) const {
  const Weights& weights = *(of_text ? text_weights_ : unet_weights_);
  const Parameter* weight = weights.used(name);
  if (weight == nullptr || !is_layer(*weight))
    fail("CONES_ADAPTER_MISMATCH", std::string("The ") + (of_text ? "text encoder" : "UNet") + " has no layer with the weight \"" + name +
                                       "\". Take an adapter that was made for this model.");
  constexpr std::string_view suffix = "weight";
  return {weight, weights.used(name.substr(0, name.size() - suffix.size()) + "bias")};
}

void Model::check_unchanged() const {
  for (const Weights* weights : {text_weights_.get(), unet_weights_.get(), vae_weights_.get(), drafts_weights_.get()})
    if (weights != nullptr) weights->check_unchanged();
}

Model::MemoryUse Model::memory() const {
  const std::size_t in_use = memory_->in_use(), held = memory_->held();
  return {.weights = weight_bytes_,
          .in_use = in_use,
          .peak = memory_->peak(),
          .limit = options_.memory_limit,
          .for_gradients = memory_->remakable(),
          .cached = held - std::min(in_use, held)};
}

void Model::trim() const {
  if (for_gradients_.use_count() == 1) memory_->drop_remakable();
  memory_->trim();
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

}  // namespace cones
