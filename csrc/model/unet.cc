#include "model/unet.h"

#include "base/error.h"
#include "model/layers.h"
#include "ops/activation.h"
#include "ops/affine.h"
#include "ops/choose_rows.h"
#include "ops/concat.h"
#include "ops/group_norm.h"
#include "ops/time_embedding.h"
#include "ops/upsample.h"

namespace cones {

UNet::UNet(const Context& context, Weights& weights, const UNetConfig& config)
    : config_(config),
      time_in_(find_linear(context, weights, "time_embedding.linear_1", 4 * config.block_out_channels[0],
                      config.block_out_channels[0])),
      time_out_(find_linear(context, weights, "time_embedding.linear_2", 4 * config.block_out_channels[0],
                       4 * config.block_out_channels[0])),
      conv_in_(find_conv3x3(context, weights, "conv_in", config.block_out_channels[0], config.in_channels)),
      norm_out_(find_norm(context, weights, "conv_norm_out", config.block_out_channels[0])),
      conv_out_(find_conv3x3(context, weights, "conv_out", config.out_channels, config.block_out_channels[0])) {
  if (config.time_cond_dim > 0)
    guidance_in_.emplace(find_linear(context, weights, "time_embedding.cond_proj", config.block_out_channels[0], config.time_cond_dim, false));
  const auto& channels = config_.block_out_channels;
  const int levels = static_cast<int>(channels.size());
  const auto at = [](const auto& list, int i) { return list[static_cast<std::size_t>(i)]; };

  index_t in = channels[0];
  for (int i = 0; i < levels; ++i) {
    const std::string prefix = "down_blocks." + std::to_string(i);
    Level& level = down_.emplace_back();
    for (int j = 0; j < at(config_.layers_per_block, i); ++j) {
      level.layers.push_back(
          make_layer(context, weights, prefix, j, {in, at(channels, i), i, at(config_.down_attention, i)}));
      in = at(channels, i);
    }
    if (i + 1 < levels) level.resample.emplace(find_conv3x3(context, weights, prefix + ".downsamplers.0.conv", in, in));
  }

  if (config_.mid_block) {
    mid_first_.emplace(make_layer(context, weights, "mid_block", 0, {in, in, levels - 1, true}));
    mid_last_.emplace(context, weights, "mid_block.resnets.1",
                      ResnetConfig{.in_channels = in, .out_channels = in, .time_channels = 4 * index_t{channels[0]},
                                   .groups = config_.norm_groups, .eps = config_.norm_eps});
  }

  for (int i = 0; i < levels; ++i) {
    // Up blocks mirror the down blocks; each has one layer more, and every layer takes one skip connection.
    const std::string prefix = "up_blocks." + std::to_string(i);
    const int mirror = levels - 1 - i;
    const index_t out = at(channels, mirror), last_skip = at(channels, mirror > 0 ? mirror - 1 : 0);
    const int layers = at(config_.layers_per_block, mirror) + 1;
    Level& level = up_.emplace_back();
    for (int j = 0; j < layers; ++j) {
      const index_t skip = j + 1 == layers ? last_skip : out;
      level.layers.push_back(
          make_layer(context, weights, prefix, j, {in + skip, out, mirror, at(config_.up_attention, i)}));
      in = out;
    }
    if (i + 1 < levels) level.resample.emplace(find_conv3x3(context, weights, prefix + ".upsamplers.0.conv", in, in));
  }

  const auto collect = [&](const Layer& layer) {
    if (!layer.transformer) return;
    for (const TransformerBlock& block : layer.transformer->blocks()) cross_layers_.push_back(&block);
  };
  for (const Level& level : down_)
    for (const Layer& layer : level.layers) collect(layer);
  if (mid_first_) collect(*mid_first_);
  for (const Level& level : up_)
    for (const Layer& layer : level.layers) collect(layer);
}

UNet::Layer UNet::make_layer(const Context& context, Weights& weights, const std::string& prefix, int index,
                             const LayerConfig& layer) {
  const std::string number = std::to_string(index);
  Layer made{ResnetBlock(context, weights, prefix + ".resnets." + number,
                         ResnetConfig{.in_channels = layer.in, .out_channels = layer.out,
                                      .time_channels = 4 * index_t{config_.block_out_channels[0]},
                                      .groups = config_.norm_groups, .eps = config_.norm_eps}),
             std::nullopt, text_layers_};
  if (layer.attention) {
    const auto level = static_cast<std::size_t>(layer.level);
    const TransformerConfig transformer{.channels = layer.out, .heads = config_.heads[level],
                                        .layers = config_.transformer_layers[level],
                                        .text_channels = config_.cross_attention_dim,
                                        .norm_groups = config_.norm_groups};
    made.transformer.emplace(context, weights, prefix + ".attentions." + number, transformer, registry_);
    text_layers_ += static_cast<std::size_t>(transformer.layers);
  }
  return made;
}

TextKv UNet::project_text(Tape& tape, const Var& text, const KvView& view, const std::vector<int>& rows) const {
  check(rows.empty() || view.masks.empty(), "masks are of rows, not of shared texts");
  const auto project = [&](const KvWeights& weights) {
    Var y = kv_project(tape, text, weights, view);
    return rows.empty() ? y : choose_rows(tape, y, rows);
  };
  TextKv kv;
  for (const TransformerBlock* block : cross_layers_) {
    kv.keys.push_back(project(*block->cross().key));
    kv.values.push_back(project(*block->cross().value));
  }
  return kv;
}

// SiLU of the time embedding [B, 4·C0]: every resnet starts from it.
Var UNet::time_embedding(Tape& tape, const UNetInput& input) const {
  const Context& context = tape.context();
  Var sinusoids(timestep_embedding(context, input.timesteps, config_.block_out_channels[0], config_.flip_sin_to_cos,
                                   config_.freq_shift));
  if (guidance_in_ && !input.guidance.empty()) {
    check(input.guidance.size() == input.timesteps.size(), "one guidance scale per batch row");
    // get_guidance_scale_embedding of diffusers' pipelines: sines first, of a thousand times the scale.
    std::vector<double> scales(input.guidance.begin(), input.guidance.end());
    for (double& scale : scales) scale *= 1000;
    const Var guidance(timestep_embedding(context, scales, config_.time_cond_dim, false, 1));
    sinusoids = linear(tape, guidance, *guidance_in_, &sinusoids);
  }
  Var hidden = activation(tape, linear(tape, sinusoids, time_in_), Activation::silu);
  return activation(tape, linear(tape, hidden, time_out_), Activation::silu);
}

Var UNet::run_layer(Tape& tape, const Layer& layer, const Var& x, const Var& time, const UNetInput& input) const {
  tape.context().check_aborted();
  const auto run = [&layer, &input, time](Tape& t, const std::vector<Var>& in) {
    Var h = layer.resnet.forward(t, in[0], &time);
    return layer.transformer ? layer.transformer->forward(t, h, input.text, layer.text_layer, input.view) : h;
  };
  return tape.checkpointing() == Checkpointing::layers ? tape.checkpoint({x}, run) : run(tape, {x});
}

Var UNet::forward(Tape& tape, const UNetInput& input) const {
  const Context& context = tape.context();
  check(static_cast<index_t>(input.timesteps.size()) == input.latents.shape()[0], "one timestep per batch row");
  const Var time = time_embedding(tape, input);

  Var x = input.latents;
  if (config_.center_input) x = affine(tape, x, 2.0f, -1.0f);
  Var h = conv2d(tape, x, conv_in_, kSame3x3);

  std::vector<Var> skips{h};
  for (const Level& level : down_) {
    for (const Layer& layer : level.layers) skips.push_back(h = run_layer(tape, layer, h, time, input));
    if (level.resample) skips.push_back(h = conv2d(tape, h, *level.resample, kHalve3x3));
  }

  if (mid_first_) h = mid_last_->forward(tape, run_layer(tape, *mid_first_, h, time, input), &time);

  for (const Level& level : up_) {
    for (const Layer& layer : level.layers) {
      // Both parts are mostly kept elsewhere.
      const auto join = [h, skip = skips.back()](Tape& t) { return concat_channels(t, h, skip); };
      const Var joined = join(tape).made_again(join);
      skips.pop_back();
      h = run_layer(tape, layer, joined, time, input);
    }
    if (level.resample) {
      // To the size of the next skip connection, which is twice this one's unless a size on the way down was odd.
      const Shape& skip = skips.back().shape();
      h = conv2d(tape, upsample_nearest(tape, h, skip[1], skip[2]), *level.resample, kSame3x3);
    }
  }
  context.check_aborted();
  return conv2d(tape, group_norm(tape, h, norm_out_, config_.norm_groups, config_.norm_eps, true), conv_out_, kSame3x3,
                nullptr, nullptr, DType::f32);
}

}  // namespace cones
