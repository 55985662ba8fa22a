// A CLIP pair with its threads and memory, and the embeddings that it makes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/placement.h"
#include "io/weights.h"
#include "model/clip.h"

namespace cones::jobs {

struct ClipOptions {
  WeightFiles files;
  ClipConfig config;
  Placement place;
  std::size_t memory_limit = SIZE_MAX;
};

class ClipPair {
 public:
  explicit ClipPair(const ClipOptions& options);

  // CONES_OUT_OF_MEMORY before anything runs where memory is short.
  /// pixels [B, S, S, channels], normalised → [B, P]
  std::vector<float> embed_images(std::span<const float> pixels, index_t batch, const std::atomic<bool>& aborted) const;
  /// ids [B × T] → [B, P]
  std::vector<float> embed_texts(const std::vector<std::int32_t>& ids, index_t batch, const std::atomic<bool>& aborted) const;

  const Placement& place() const { return place_; }

 private:
  Context context(const std::atomic<bool>* aborted) const;
  /// What `job`(context) makes, when its memory is sure to be there.
  template <class F>
  std::vector<float> run(const std::atomic<bool>& aborted, const F& job) const;

  Placement place_;
  std::size_t memory_limit_;
  std::shared_ptr<Memory> memory_;
  Weights weights_;
  Clip clip_;
};

}  // namespace cones::jobs
