// CLIPModel of transformers: pictures and texts in one space, where the cosine says how well they agree. Embeddings have
// length 1, so the cosine of two is their dot product.
#pragma once

#include <cstdint>
#include <span>

#include "io/weights.h"
#include "model/clip_text.h"
#include "model/clip_vision.h"
#include "model/config.h"

namespace cones {

class Clip {
 public:
  /// Uses every tensor of a CLIPModel but `logit_scale` and the `position_ids` of old files.
  Clip(const Context& context, Weights& weights, const ClipConfig& config);

  /// pixels as ClipVision::pool takes them → image_embeds [B, P].
  Tensor embed_images(const Context& context, std::span<const float> pixels, index_t batch) const;
  /// ids [B, T] as ClipText::forward takes them → text_embeds [B, P]: the state at each row's end of text,
  /// projected.
  Tensor embed_texts(const Context& context, std::span<const std::int32_t> ids, index_t batch, index_t length) const;

  const ClipConfig& config() const { return config_; }

 private:
  ClipConfig config_;
  ClipText text_;
  ClipVision vision_;
  LinearWeights text_projection_, visual_projection_;
};

}  // namespace cones
