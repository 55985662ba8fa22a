// CLIPEncoder of transformers: the pre-norm transformer that both towers of CLIP are made of.
#pragma once

#include <string>
#include <vector>

#include "io/weights.h"
#include "ops/activation.h"
#include "ops/linear.h"
#include "ops/norm_weights.h"
#include "ops/tape.h"

namespace cones {

struct ClipEncoderConfig {
  index_t hidden_size = 0, intermediate_size = 0;
  int layers = 0, heads = 1;
  bool causal = false;
  Activation activation = Activation::quick_gelu;
  float layer_norm_eps = 1e-5f;
};

class ClipEncoder {
 public:
  /// Weights `<prefix>.layers.<i>.…`
  ClipEncoder(const Context& context, Weights& weights, const std::string& prefix, const ClipEncoderConfig& config);

  /// x [B, T, D] → [B, T, D]
  Var forward(Tape& tape, const Var& x) const;

 private:
  struct Layer {
    NormWeights norm1, norm2;
    LinearWeights query, key, value, output;
    LinearWeights feed_in, feed_out;
  };

  ClipEncoderConfig config_;
  std::vector<Layer> layers_;
};

}  // namespace cones
