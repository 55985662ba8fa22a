// CLIPVisionModel of transformers: the picture tower of CLIP. For measuring pictures; it has no gradients.
#pragma once

#include <span>
#include <vector>

#include "io/weights.h"
#include "model/clip_encoder.h"
#include "model/config.h"
#include "ops/tape.h"

namespace cones {

class ClipVision {
 public:
  /// Weights under `vision_model.`, as published. CONES_CONFIG_INVALID where the patches do not fit the picture.
  ClipVision(const Context& context, Weights& weights, const VisionConfig& config);
  ClipVision(const ClipVision&) = delete;  // patches_ refers to patch_matrix_
  ClipVision& operator=(const ClipVision&) = delete;

  /// pixels [B, S, S, channels], S = image_size, normalised with the preprocessor's mean and standard deviation → the
  /// class token behind the last layer norm [B, D] (pooler_output). CONES_OPTION_INVALID for another size.
  Tensor pool(const Context& context, std::span<const float> pixels, index_t batch) const;

  const VisionConfig& config() const { return config_; }

 private:
  index_t grid() const { return config_.image_size / config_.patch_size; }
  std::vector<float> cut_patches(std::span<const float> pixels, index_t batch) const;
  Tensor embed(const Context& context, std::span<const float> pixels, index_t batch) const;

  VisionConfig config_;
  Parameter patch_matrix_;  // the patch convolution's weight seen as [D, channels · patch_size²]
  LinearWeights patches_;
  const Parameter *class_token_, *positions_;  // [D], [1 + grid², D]
  NormWeights norm_in_, norm_out_;
  ClipEncoder encoder_;
};

}  // namespace cones
