#include "model/clip_encoder.h"

#include "model/layers.h"
#include "ops/attention.h"
#include "ops/layer_norm.h"

namespace cones {

ClipEncoder::ClipEncoder(const Context& context, Weights& weights, const std::string& prefix,
                         const ClipEncoderConfig& config)
    : config_(config) {
  const index_t width = config.hidden_size;
  for (int i = 0; i < config.layers; ++i) {
    const std::string layer = prefix + ".layers." + std::to_string(i);
    const auto projection = [&](const char* name) {
      return find_linear(context, weights, layer + ".self_attn." + name, width, width);
    };
    layers_.push_back({.norm1 = find_norm(context, weights, layer + ".layer_norm1", width),
                       .norm2 = find_norm(context, weights, layer + ".layer_norm2", width),
                       .query = projection("q_proj"),
                       .key = projection("k_proj"),
                       .value = projection("v_proj"),
                       .output = projection("out_proj"),
                       .feed_in = find_linear(context, weights, layer + ".mlp.fc1", config.intermediate_size, width),
                       .feed_out = find_linear(context, weights, layer + ".mlp.fc2", width, config.intermediate_size)});
  }
}

Var ClipEncoder::forward(Tape& tape, const Var& x) const {
  const AttentionOptions options{.heads = config_.heads, .causal = config_.causal};
  Var h = x;
  for (const Layer& layer : layers_) {
    tape.context().check_aborted();
    {
      const Var normed = layer_norm(tape, h, layer.norm1, config_.layer_norm_eps);
      const Var query = linear(tape, normed, layer.query);
      const Var key = linear(tape, normed, layer.key);
      const Var value = linear(tape, normed, layer.value);
      h = linear(tape, attention(tape, query, key, value, options), layer.output, &h);
    }
    const Var hidden = linear(tape, layer_norm(tape, h, layer.norm2, config_.layer_norm_eps), layer.feed_in);
    h = linear(tape, activation(tape, hidden, config_.activation), layer.feed_out, &h);
  }
  return h;
}

}  // namespace cones
