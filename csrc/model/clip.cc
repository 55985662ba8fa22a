#include "model/clip.h"

#include <algorithm>
#include <cmath>

#include "model/layers.h"

namespace cones {
namespace {

/// Where a row of ids ends. Configs that say 2 are older than the fix of transformers' PR 24773: there the end of text is
/// the highest id of the vocabulary.
index_t end_of_text(std::span<const std::int32_t> row, int eos_token_id) {
  if (eos_token_id == 2) return std::max_element(row.begin(), row.end()) - row.begin();
  const auto found = std::find(row.begin(), row.end(), eos_token_id);
  return found == row.end() ? 0 : found - row.begin();
}

/// Scales every row to length 1.
Tensor normalize_rows(const Context& context, const Tensor& x) {
  Tensor y = context.empty(x.shape());
  if (context.planning()) return y;
  for (index_t r = 0; r < x.rows(); ++r) {
    const float* from = x.data() + r * x.columns();
    double squares = 0;
    for (index_t c = 0; c < x.columns(); ++c) squares += static_cast<double>(from[c]) * static_cast<double>(from[c]);
    const double length = std::sqrt(squares);
    std::transform(from, from + x.columns(), y.data() + r * x.columns(),
                   [length](float value) { return static_cast<float>(static_cast<double>(value) / length); });
  }
  return y;
}

}  // namespace

Clip::Clip(const Context& context, Weights& weights, const ClipConfig& config)
    : config_(config),
      text_(context, weights, config.text),
      vision_(context, weights, config.vision),
      text_projection_(find_linear(context, weights, "text_projection", config.projection_size, config.text.hidden_size, false)),
      visual_projection_(
          find_linear(context, weights, "visual_projection", config.projection_size, config.vision.hidden_size, false)) {
  weights.check_all_used({"logit_scale", "position_ids"});
}

Tensor Clip::embed_images(const Context& context, const Tensor& pixels) const {
  return normalize_rows(context, linear_forward(context, vision_.pool(context, pixels), visual_projection_));
}

Tensor Clip::embed_texts(const Context& context, std::span<const std::int32_t> ids, index_t batch,
                         index_t length) const {
  Tape tape(context);
  const Tensor states = text_.forward(tape, ids, batch, length).value();
  const index_t width = states.columns();
  Tensor pooled = context.empty({batch, width});
  if (!context.planning())
    for (index_t b = 0; b < batch; ++b) {
      const auto row = ids.subspan(static_cast<std::size_t>(b * length), static_cast<std::size_t>(length));
      const index_t end = end_of_text(row, config_.eos_token_id);
      std::copy_n(states.data() + (b * length + end) * width, width, pooled.data() + b * width);
    }
  return normalize_rows(context, linear_forward(context, pooled, text_projection_));
}

}  // namespace cones
