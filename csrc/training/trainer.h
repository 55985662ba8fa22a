// The paper's rivals (App. B.1–B.3), trained: token embeddings (Textual Inversion), K-V weights (Custom Diffusion), or all weights of
// the UNet (DreamBooth), by AdamW on the same batches and loss as a concept search.
//
// Weights have fp32 values on the device. Between steps only these and their moments are held; a step makes of them what kernels read:
// γ of the K-V weights, or a UNet of its own. The model itself is never written to, so others draw with it meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/weights.h"
#include "training/trained_weights.h"
#include "training/training_pass.h"

namespace cones {

/// AdamW with PyTorch's defaults; weight_decay 0: Adam.
struct AdamOptions {
  double learning_rate = 1e-5, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.01;
};

struct TrainerOptions {
  enum class Weights { none, kv, unet };
  Weights weights = Weights::none;
  std::vector<int> tensors;  // of `kv`: indices of the K-V tensors
  bool first_token_fixed = false;  // KvView's
  AdamOptions adam;
  Checkpointing checkpointing = Checkpointing::none;
};

class Trainer final : ScaledKv {
 public:
  /// `unet` must outlive the trainer; `files` are its weights. CONES_OPTION_INVALID when the options do not fit.
  Trainer(const Context& context, const UNet& unet, const WeightFiles& files, TrainerOptions options);

  /// One step on one batch: of the weights, and of `identifier` (null for none). Whole or not at all, also when it is aborted or the loss
  /// is not finite (CONES_LOSS_NOT_FINITE).
  StepResult step(const Context& context, const TrainingBatch& batch, LearnedIdentifier* identifier);
  /// May be read while another thread runs step().
  std::int64_t steps_done() const { return steps_.load(std::memory_order_relaxed); }

  /// Null where none are trained.
  const TrainedWeights* weights() const { return trained_ ? &*trained_ : nullptr; }

  /// Steps, then the weights' state.
  std::size_t state_size() const;
  std::vector<std::byte> save(const Context& context) const;
  /// CONES_STATE_INVALID when the bytes are not a state of a training like this one; it is as before then.
  void load(const Context& context, std::span<const std::byte> state);

 private:
  struct StateHeader {
    std::uint64_t steps;
  };
  // ScaledKv
  const Prepared* gamma(int kv_index) const override;
  void make_gammas(const Context& context);

  const UNet& unet_;
  TrainerOptions options_;
  std::optional<Weights> own_;  // of `unet`: its parameters are the trained values
  std::optional<TrainedWeights> trained_;
  std::vector<int> position_;          // of `kv`: by K-V index the place among the trained, or -1
  std::vector<PreparedRef> gammas_;    // of the step under way
  std::atomic<std::int64_t> steps_{0};
};

}  // namespace cones
