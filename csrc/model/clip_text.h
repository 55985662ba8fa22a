// CLIPTextModel of transformers: the text encoder of Stable Diffusion.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/weights.h"
#include "model/clip_encoder.h"
#include "model/config.h"
#include "ops/tape.h"

namespace cones {

class ClipText {
 public:
  /// Weights under `text_model.`, as published, or with no prefix.
  ClipText(const Context& context, Weights& weights, const TextConfig& config);

  /// The last hidden state, behind the final layer norm, [B, T, D], of ids [B, T] with T ≤ max_positions. Attention is
  /// causal and sees padding, as in Stable Diffusion.
  /// `replaced` [R, D] (undefined for none) stands in for the embeddings of the ids `replaced_ids` [R]: a learned
  /// identifier, to which gradients flow.
  /// CONES_OPTION_INVALID for too many tokens, CONES_CONFIG_INVALID for an id outside the vocabulary.
  Var forward(Tape& tape, std::span<const std::int32_t> ids, index_t batch, index_t length, const Var& replaced = {},
              std::span<const std::int32_t> replaced_ids = {}) const;

  /// Rows of the token embedding [R, D]: where a learned identifier starts. CONES_OPTION_INVALID for an id outside the
  /// vocabulary.
  std::vector<float> token_rows(const Context& context, std::span<const std::int32_t> ids) const;

  /// The mean length of the vocabulary's token embeddings: how long a word is.
  double mean_token_norm(const Context& context) const;

  const TextConfig& config() const { return config_; }

 private:
  ClipText(const Context& context, Weights& weights, const TextConfig& config, const std::string& prefix);

  TextConfig config_;
  const Parameter *tokens_, *positions_;  // [vocab_size, D], [max_positions, D]
  ClipEncoder encoder_;
  NormWeights final_norm_;
};

}  // namespace cones
