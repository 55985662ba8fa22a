// Transformer2DModel of diffusers: self-attention, cross-attention to the text and a feed-forward, over image tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/weights.h"
#include "ops/attention.h"
#include "ops/kv_project.h"
#include "ops/linear.h"
#include "ops/norm_weights.h"
#include "ops/tape.h"

namespace cones {

/// Collects the K-V tensors in the network's order while the UNet is built.
class KvRegistry {
 public:
  const KvWeights* add(const Context& context, const Parameter* weight);
  const std::vector<const KvWeights*>& tensors() const { return tensors_; }

 private:
  std::vector<std::unique_ptr<KvWeights>> owned_;
  std::vector<const KvWeights*> tensors_;
};

struct TransformerConfig {
  index_t channels = 0;
  int heads = 1;
  int layers = 1;
  index_t text_channels = 0;
  int norm_groups = 32;
};

/// Keys and values of the text for every cross-attention layer, in the network's order. They do not depend on the image
/// or the timestep: sampling projects them once per prompt and concept set, not once per step.
struct TextKv {
  std::vector<Var> keys, values;  // [B, T, C]
};

/// Attention without its K-V input: queries, heads and the output projection.
struct AttentionLayer {
  LinearWeights query;
  const KvWeights* key;
  const KvWeights* value;
  LinearWeights output;
};

class TransformerBlock {
 public:
  TransformerBlock(const Context& context, Weights& weights, const std::string& prefix, const TransformerConfig& config,
                   KvRegistry& registry);

  /// x [B, T, C], text keys and values [B, S, C] → [B, T, C]
  Var forward(Tape& tape, const Var& x, const Var& text_key, const Var& text_value, const KvView& view) const;
  const AttentionLayer& cross() const { return cross_; }

 private:
  int heads_;
  NormWeights norm1_, norm2_, norm3_;
  AttentionLayer self_, cross_;
  LinearWeights feed_in_, feed_out_;  // C → 8C (GEGLU halves it), 4C → C
};

class Transformer2D {
 public:
  Transformer2D(const Context& context, Weights& weights, const std::string& prefix, const TransformerConfig& config,
                KvRegistry& registry);

  /// x [B, H, W, C] → [B, H, W, C]. `text_layer`: index of this transformer's first block in `text`.
  Var forward(Tape& tape, const Var& x, const TextKv& text, std::size_t text_layer, const KvView& view) const;
  const std::vector<TransformerBlock>& blocks() const { return blocks_; }

 private:
  int norm_groups_;
  NormWeights norm_;
  LinearWeights project_in_, project_out_;  // 1×1 convolutions and linear layers are one thing in channels-last
  std::vector<TransformerBlock> blocks_;
};

}  // namespace cones
