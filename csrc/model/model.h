// A whole text-to-image model: text encoder, UNet and autoencoder, with the device and memory that its jobs share.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "device/placement.h"
#include "io/weights.h"
#include "model/clip_text.h"
#include "model/config.h"
#include "model/unet.h"
#include "model/vae.h"

namespace cones {

struct ModelFiles {
  WeightFiles text, unet, vae;
  WeightFiles drafts = {};  // of `drafts`, where there is one
};

struct ModelOptions {
  ModelFiles files;
  TextConfig text;
  UNetConfig unet;
  VaeConfig vae;
  std::optional<VaeConfig> drafts;  // another autoencoder for the same latents, which only decodes: quick previews
  Placement place;
  std::size_t memory_limit = SIZE_MAX;  // bytes, weights and activations together
};

class Model {
 public:
  /// Opens the files, checks every tensor against the configs and packs the weights.
  explicit Model(const ModelOptions& options);

  /// A context for one job; `aborted` may be null.
  Context context(const std::atomic<bool>* aborted) const;
  /// The same for the autoencoder.
  Context vae_context(const std::atomic<bool>* aborted) const;

  const ClipText& text() const { return *text_; }
  const UNet& unet() const { return *unet_; }
  const Vae& vae() const { return *vae_; }
  /// The one for drafts, or null.
  const Vae* drafts() const { return drafts_.get(); }
  const ModelOptions& options() const { return options_; }

  /// A weight of the UNet by its diffusers name; CONES_OPTION_INVALID when there is none.
  const Parameter& unet_parameter(const std::string& name) const;
  /// A layer's weight, and its bias or null.
  struct LayerWeights {
    const Parameter *weight, *bias;
  };
  /// The linear layers and convolutions of the text encoder or the UNet, which adapters may change; in the order of their names.
  std::vector<const Parameter*> adaptable(bool of_text) const;
  /// The one whose weight has this name; CONES_ADAPTER_MISMATCH when there is none.
  LayerWeights adaptable(bool of_text, const std::string& name) const;
  /// CONES_MODEL_CHANGED when somebody has written to the model's files. Reads tell that by themselves; this is for jobs that
  /// should rather not begin.
  void check_unchanged() const;

  struct MemoryUse {
    std::size_t weights, in_use, peak, limit;
    std::size_t for_gradients;  // of in_use: weights packed for gradients, kept since the first
    std::size_t cached;         // not in use: blocks for the next job
  };
  MemoryUse memory() const;
  /// Bytes that are not in use.
  std::size_t available_memory() const;
  /// CONES_OUT_OF_MEMORY as NotNow, before anything runs, when a job that needs `bytes` on top of what is in use does not fit.
  void require_memory(std::size_t bytes) const;
  /// The same for a job that goes step by step, among others: it holds `held` more bytes between steps and `step` besides
  /// during one. As long as the result lives, everybody's steps are sure to fit.
  std::shared_ptr<void> share_memory(std::size_t held, std::size_t step) const;
  /// As long as the result lives, trim() leaves the weights that are packed for gradients alone: who counts on them holds it.
  std::shared_ptr<void> keep_for_gradients() const { return for_gradients_; }
  /// Gives the device back what is not in use, and weights packed for gradients that nobody counts on. Between jobs.
  void trim() const;

 private:
  ModelOptions options_;
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<Weights> text_weights_, unet_weights_, vae_weights_, drafts_weights_;
  std::unique_ptr<ClipText> text_;
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<Vae> vae_, drafts_;
  std::size_t weight_bytes_ = 0;
  /// share_memory's `step` of everybody.
  const std::shared_ptr<std::multiset<std::size_t>> steps_ = std::make_shared<std::multiset<std::size_t>>();
  const std::shared_ptr<void> for_gradients_ = std::make_shared<char>();  // keep_for_gradients()'s, its own and others
};

}  // namespace cones
