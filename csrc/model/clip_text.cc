#include "model/clip_text.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/layers.h"
#include "ops/embedding.h"
#include "ops/layer_norm.h"

namespace cones {
namespace {

ClipEncoderConfig encoder_config(const TextConfig& config) {
  return {.hidden_size = config.hidden_size,
          .intermediate_size = config.intermediate_size,
          .layers = config.layers,
          .heads = config.heads,
          .causal = true,
          .activation = config.activation,
          .layer_norm_eps = config.layer_norm_eps};
}

}  // namespace

ClipText::ClipText(const Context& context, Weights& weights, const TextConfig& config)
    : ClipText(context, weights, config, weights.has("embeddings.token_embedding.weight") ? "" : "text_model.") {}

ClipText::ClipText(const Context& context, Weights& weights, const TextConfig& config, const std::string& prefix)
    : config_(config),
      tokens_(weights.find(prefix + "embeddings.token_embedding.weight", {config.vocab_size, config.hidden_size})),
      positions_(weights.find(prefix + "embeddings.position_embedding.weight", {config.max_positions, config.hidden_size})),
      encoder_(context, weights, prefix + "encoder", encoder_config(config)),
      final_norm_(find_norm(context, weights, prefix + "final_layer_norm", config.hidden_size)) {}

Var ClipText::forward(Tape& tape, std::span<const std::int32_t> ids, index_t batch, index_t length, const Var& replaced,
                      std::span<const std::int32_t> replaced_ids) const {
  check(static_cast<index_t>(ids.size()) == batch * length, "ids are [B, T]");
  if (length > config_.max_positions)
    fail("CONES_OPTION_INVALID", "The text encoder reads at most " + std::to_string(config_.max_positions) +
                                     " tokens, but " + std::to_string(length) + " were given. Truncate the prompt.");
  const Var embedded = token_embedding(tape, tokens_, positions_, ids.data(), batch, length, replaced, replaced_ids);
  return layer_norm(tape, encoder_.forward(tape, embedded), final_norm_, config_.layer_norm_eps);
}

std::vector<float> ClipText::token_rows(const Context& context, std::span<const std::int32_t> ids) const {
  const index_t width = config_.hidden_size;
  std::vector<float> rows(ids.size() * static_cast<std::size_t>(width));
  if (context.planning()) return rows;
  for (std::size_t r = 0; r < ids.size(); ++r) {
    if (ids[r] < 0 || ids[r] >= config_.vocab_size)
      fail("CONES_OPTION_INVALID", "Token id " + std::to_string(ids[r]) + " is outside the text encoder's vocabulary of " +
                                       std::to_string(config_.vocab_size) + ".");
    tokens_->read(ids[r] * width, (ids[r] + 1) * width, rows.data() + r * static_cast<std::size_t>(width));
  }
  return rows;
}

double ClipText::mean_token_norm(const Context& context) const {
  constexpr index_t kAtOnce = 1024;
  const index_t width = config_.hidden_size;
  std::vector<float> rows(static_cast<std::size_t>(kAtOnce * width));
  double sum = 0;
  for (index_t first = 0; first < config_.vocab_size; first += kAtOnce) {
    context.check_aborted();
    const index_t last = std::min<index_t>(first + kAtOnce, config_.vocab_size);
    tokens_->read(first * width, last * width, rows.data());
    for (index_t r = 0; r < last - first; ++r) {
      double squares = 0;
      for (index_t c = 0; c < width; ++c) {
        const double v = static_cast<double>(rows[static_cast<std::size_t>(r * width + c)]);
        squares += v * v;
      }
      sum += std::sqrt(squares);
    }
  }
  return sum / static_cast<double>(config_.vocab_size);
}

}  // namespace cones
