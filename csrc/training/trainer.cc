#include "training/trainer.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace cones {
namespace {

constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 48;

/// A weight that reads what it is now: on the device, or through the host.
void make_trained(const Context& context, Parameter& parameter, const Tensor& values) {
  parameter.dtype = DType::f32;
  parameter.values = values;
  parameter.bytes = [memory = context.memory, values](std::uint64_t offset, std::span<std::byte> out) {
    memory->device().download(out.data(), static_cast<const std::byte*>(values.raw()) + offset, out.size());
  };
}

}  // namespace

Trainer::Trainer(const Context& context, const UNet& unet, const WeightFiles& files, TrainerOptions options)
    : unet_(unet), options_(std::move(options)) {
  const auto& kv = unet.kv_tensors();
  if (options_.weights == TrainerOptions::Weights::kv) {
    position_.assign(kv.size(), -1);
    std::vector<const Parameter*> parameters;
    for (const int index : options_.tensors) {
      const auto at = static_cast<std::size_t>(index);
      if (at >= kv.size() || position_[at] != -1)
        fail("CONES_OPTION_INVALID", "Trained tensors must be distinct K-V tensors of the model.");
      position_[at] = static_cast<int>(parameters.size());
      parameters.push_back(&kv[at]->parameter());
    }
    trained_.emplace(context, std::move(parameters));
  } else if (options_.weights == TrainerOptions::Weights::unet) {
    own_.emplace(files);
    UNet(context.plan(), *own_, unet.config());  // asks for all of them
    const std::vector<Parameter*> used = own_->all_used();
    trained_.emplace(context, std::vector<const Parameter*>(used.begin(), used.end()));
    for (std::size_t i = 0; i < used.size(); ++i) make_trained(context, *used[i], trained_->values(i));
  }
}

const Prepared* Trainer::gamma(int kv_index) const {
  const int i = position_[static_cast<std::size_t>(kv_index)];
  return i < 0 ? nullptr : gammas_[static_cast<std::size_t>(i)].get();
}

void Trainer::make_gammas(const Context& context) {
  for (const int index : options_.tensors) {
    const KvWeights& weights = *unet_.kv_tensors()[static_cast<std::size_t>(index)];
    gammas_.push_back(context.backend->prepare_gamma(context, weights.base().shared(), trained_->values(gammas_.size())));
  }
}

StepResult Trainer::step(const Context& context, const TrainingBatch& batch, LearnedIdentifier* identifier) {
  // What a step that failed has left.
  if (trained_) trained_->forget_gradients();
  gammas_.clear();

  Context own = context;
  const MseResult loss = [&] {
    std::optional<UNet> unet;
    if (own_) unet.emplace(context, *own_, unet_.config());
    if (!position_.empty()) make_gammas(context);
    const KvView view{.masks = {}, .scaled = position_.empty() ? nullptr : this,
                      .first_token_fixed = options_.first_token_fixed};
    MseResult result = run_pass(own,
                                {.unet = unet ? *unet : unet_, .batch = batch, .view = view,
                                 .parameters = trained_ ? &*trained_ : nullptr, .identifier = identifier,
                                 .checkpointing = options_.checkpointing},
                                [](const MseResult&) {});
    gammas_.clear();
    return result;
  }();
  const MseLoss values = read_loss(own, loss, batch.weights);
  if (!std::isfinite(values.loss)) fail_not_finite(context, "The loss", steps_ + 1);

  // From here on to the end.
  const Context whole = own.watching(nullptr);
  const AdamOptions& adam = options_.adam;
  if (identifier) identifier->update(whole, steps_ + 1, Tensor());
  if (trained_)
    trained_->update(whole, {adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon, steps_ + 1, adam.weight_decay});
  ++steps_;
  return {values.loss, values.means};
}

std::size_t Trainer::state_size() const { return sizeof(StateHeader) + (trained_ ? trained_->state_size() : 0); }

std::vector<std::byte> Trainer::save(const Context& context) const {
  std::vector<std::byte> state(state_size());
  const StateHeader header{static_cast<std::uint64_t>(steps_done())};
  std::memcpy(state.data(), &header, sizeof header);
  if (trained_) trained_->save(context, std::span(state).subspan(sizeof header));
  return state;
}

void Trainer::load(const Context& context, std::span<const std::byte> state) {
  StateHeader header{};
  const bool whole = state.size() == state_size();
  if (whole) std::memcpy(&header, state.data(), sizeof header);
  const std::span<const std::byte> rest = whole ? state.subspan(sizeof header) : state;
  if (!whole || header.steps > kMostSteps || (trained_ && !trained_->fits(rest)))
    fail("CONES_STATE_INVALID", "The saved state is not one of a training like this. Resume with the model and options that it began with.");
  if (trained_) trained_->load(context, rest);
  steps_ = static_cast<std::int64_t>(header.steps);
}

}  // namespace cones
