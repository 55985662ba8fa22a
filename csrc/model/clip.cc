#include "model/clip.h"

#include <algorithm>
#include <vector>

#include "model/layers.h"
#include "ops/choose_rows.h"

namespace cones {
namespace {

/// Where a row of ids ends. Configs that say 2 are older than the fix of transformers' PR 24773: there the end of text is
/// the highest id of the vocabulary.
index_t end_of_text(std::span<const std::int32_t> row, int eos_token_id) {
  if (eos_token_id == 2) return std::max_element(row.begin(), row.end()) - row.begin();
  const auto found = std::find(row.begin(), row.end(), eos_token_id);
  return found == row.end() ? 0 : found - row.begin();
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

Tensor Clip::embed_images(const Context& context, std::span<const float> pixels, index_t batch) const {
  return context.backend->normalize_rows(context, linear_forward(context, vision_.pool(context, pixels, batch), visual_projection_));
}

Tensor Clip::embed_texts(const Context& context, std::span<const std::int32_t> ids, index_t batch,
                         index_t length) const {
  Tape tape(context);
  const Tensor states = text_.forward(tape, ids, batch, length).value();
  const index_t width = states.columns();
  std::vector<int> ends;  // rows of states [B · T, 1, D]
  for (index_t b = 0; b < batch; ++b)
    ends.push_back(static_cast<int>(
        b * length + end_of_text(ids.subspan(static_cast<std::size_t>(b * length), static_cast<std::size_t>(length)),
                                 config_.eos_token_id)));
  const Tensor pooled = choose_rows_forward(context, states.reshape({batch * length, 1, width}), ends).reshape({batch, width});
  return context.backend->normalize_rows(context, linear_forward(context, pooled, text_projection_));
}

}  // namespace cones
