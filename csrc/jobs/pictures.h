// Pictures to latents and back. Small ones go through the autoencoder together, as many as memory holds.
#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "model/model.h"

namespace cones::jobs {

/// Pixels [B, H, W, 3] to be encoded, or latents [B, C, h, w] to be decoded; a plan needs only the sizes.
struct Pictures {
  index_t count, height, width;
  std::span<const float> values = {};
  bool draft = false;  // to be decoded by the model's autoencoder for drafts
};

// One pass of all of them:
/// Moments [B, 2C, h, w]: mean, log-variance.
std::vector<float> encode_images(const Context& context, const Model& model, const Pictures& in);
/// Pixels [B, H, W, 3].
std::vector<float> decode_latents(const Context& context, const Model& model, const Pictures& in);

// Jobs of as many passes as are needed:
std::vector<float> encode_in_passes(const Model& model, const Pictures& in, const std::atomic<bool>& aborted);
std::vector<float> decode_in_passes(const Model& model, const Pictures& in, const std::atomic<bool>& aborted);
/// Their peak bytes with `available` ones: those of the largest pass.
std::size_t plan_encode(const Model& model, const Pictures& in, std::size_t available);
std::size_t plan_decode(const Model& model, const Pictures& in, std::size_t available);

}  // namespace cones::jobs
