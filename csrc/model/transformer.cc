#include "model/transformer.h"

#include "model/layers.h"
#include "ops/geglu.h"
#include "ops/group_norm.h"
#include "ops/layer_norm.h"

namespace cones {
namespace {

// `proj_in`/`proj_out` are stored as [C, C] or as 1×1 convolutions [C, C, 1, 1] (use_linear_projection).
LinearWeights projection_weights(const Context& context, Weights& weights, const std::string& name, index_t channels) {
  const Parameter* weight = weights.find_either(name + ".weight", {channels, channels}, {channels, channels, 1, 1});
  return LinearWeights(context, weight, weights.find(name + ".bias", {channels}));
}

AttentionLayer attention_layer(const Context& context, Weights& weights, const std::string& name, index_t channels,
                               index_t kv_channels, KvRegistry& registry) {
  LinearWeights query = find_linear(context, weights, name + ".to_q", channels, channels, false);
  const auto project = [&](const char* weight) {
    return registry.add(context, weights.find(name + weight, {channels, kv_channels}));
  };
  const KvWeights* key = project(".to_k.weight");
  const KvWeights* value = project(".to_v.weight");
  return {std::move(query), key, value, find_linear(context, weights, name + ".to_out.0", channels, channels)};
}

constexpr float kLayerNormEps = 1e-5f;  // BasicTransformerBlock's
constexpr float kGroupNormEps = 1e-6f;  // Transformer2DModel's

}  // namespace

const KvWeights* KvRegistry::add(const Context& context, const Parameter* weight) {
  owned_.push_back(std::make_unique<KvWeights>(context, weight, static_cast<int>(owned_.size())));
  tensors_.push_back(owned_.back().get());
  return tensors_.back();
}

TransformerBlock::TransformerBlock(const Context& context, Weights& weights, const std::string& prefix,
                                   const TransformerConfig& c, KvRegistry& registry)
    : heads_(c.heads),
      norm1_(find_norm(context, weights, prefix + ".norm1", c.channels)),
      norm2_(find_norm(context, weights, prefix + ".norm2", c.channels)),
      norm3_(find_norm(context, weights, prefix + ".norm3", c.channels)),
      self_(attention_layer(context, weights, prefix + ".attn1", c.channels, c.channels, registry)),
      cross_(attention_layer(context, weights, prefix + ".attn2", c.channels, c.text_channels, registry)),
      feed_in_(find_linear(context, weights, prefix + ".ff.net.0.proj", 8 * c.channels, c.channels)),
      feed_out_(find_linear(context, weights, prefix + ".ff.net.2", c.channels, 4 * c.channels)) {}

Var TransformerBlock::forward(Tape& tape, const Var& x, const Var& text_key, const Var& text_value,
                              const KvView& view) const {
  const AttentionOptions options{.heads = heads_};
  Var h = x;
  // With light checkpointing backward keeps h and what self-attention gives, and makes norms and projections of h again: two
  // thirds of what a block keeps (docs/log/2026-11-28-search-memory.md).
  {
    const auto norm = [this, h](Tape& t) { return layer_norm(t, h, norm1_, kLayerNormEps); };
    const Var normed = tape.light(norm(tape), norm);
    const auto from_normed = [&](const auto& project) {
      return tape.light(project(tape, normed), [project, norm](Tape& t) { return project(t, norm(t)); });
    };
    const auto key_or_value = [&](const KvWeights& weights) {
      return from_normed([&weights, &view](Tape& t, const Var& in) { return kv_project(t, in, weights, view); });
    };
    const Var key = key_or_value(*self_.key), value = key_or_value(*self_.value);
    const Var query = from_normed([this](Tape& t, const Var& in) { return linear(t, in, self_.query); });
    h = linear(tape, attention(tape, query, key, value, options), self_.output, &h);
  }
  {
    const auto project = [this, h](Tape& t) { return linear(t, layer_norm(t, h, norm2_, kLayerNormEps), cross_.query); };
    const Var query = tape.light(project(tape), project);
    h = linear(tape, attention(tape, query, text_key, text_value, options), cross_.output, &h);
  }
  const auto feed = [this, h](Tape& t) { return linear(t, layer_norm(t, h, norm3_, kLayerNormEps), feed_in_); };
  return linear(tape, geglu(tape, tape.light(feed(tape), feed)), feed_out_, &h);
}

Transformer2D::Transformer2D(const Context& context, Weights& weights, const std::string& prefix,
                             const TransformerConfig& c, KvRegistry& registry)
    : norm_groups_(c.norm_groups),
      norm_(find_norm(context, weights, prefix + ".norm", c.channels)),
      project_in_(projection_weights(context, weights, prefix + ".proj_in", c.channels)),
      project_out_(projection_weights(context, weights, prefix + ".proj_out", c.channels)) {
  for (int i = 0; i < c.layers; ++i)
    blocks_.emplace_back(context, weights, prefix + ".transformer_blocks." + std::to_string(i), c, registry);
}

Var Transformer2D::forward(Tape& tape, const Var& x, const TextKv& text, std::size_t text_layer,
                           const KvView& view) const {
  const Shape image = x.shape();
  const Shape tokens{image[0], image[1] * image[2], image[3]};
  Var residual = x.reshape(tokens);
  Var h = linear(tape, group_norm(tape, residual, norm_, norm_groups_, kGroupNormEps, false), project_in_);
  for (const TransformerBlock& block : blocks_) {
    h = block.forward(tape, h, text.keys[text_layer], text.values[text_layer], view);
    ++text_layer;
  }
  return linear(tape, h, project_out_, &residual).reshape(image);
}

}  // namespace cones
