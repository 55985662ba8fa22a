#include "search_golden.h"

#include <algorithm>

#include "device/backend.h"
#include "ops/transfer.h"

namespace cones::test {

UNetConfig search_unet_config() {
  UNetConfig c;
  c.block_out_channels = {16, 32};
  c.down_attention = {false, true};
  c.up_attention = {true, false};
  c.layers_per_block = {1, 1};
  c.heads = {2, 2};
  c.transformer_layers = {1, 1};
  c.cross_attention_dim = 24;
  c.norm_groups = 8;
  return c;
}

TextConfig identifier_text_config() {
  TextConfig c;
  c.vocab_size = 40;
  c.hidden_size = 24;
  c.intermediate_size = 48;
  c.layers = 2;
  c.heads = 2;
  c.max_positions = 12;
  return c;
}

std::vector<SearchGoldenRun> search_golden_runs() {
  const auto run = [](Algorithm algorithm, Optimizer optimizer, double learning_rate, bool clamp, std::int64_t shut = 0,
                      std::int64_t ramp = 0) {
    SearchOptions options;
    options.algorithm = algorithm;
    options.optimizer = optimizer;
    options.learning_rate = learning_rate;
    options.clamp = clamp;
    options.shut = shut;
    options.ramp = ramp;
    return options;
  };
  return {{"a2.adam", run(Algorithm::a2, Optimizer::adam, 6e-5, false)},
          {"a2.adam.clamp", run(Algorithm::a2, Optimizer::adam, 6e-5, true)},
          {"a2.adam.large.clamp", run(Algorithm::a2, Optimizer::adam, 0.4, true)},
          {"a2.sgd", run(Algorithm::a2, Optimizer::sgd, 20, false)},
          {"a2.sgd.clamp", run(Algorithm::a2, Optimizer::sgd, 500, true)},
          {"a2.sgd.straight-through", run(Algorithm::a2, Optimizer::sgd, 20, false, 600, 2)},
          {"algorithm1.sgd", run(Algorithm::one, Optimizer::sgd, 20, false)},
          {"algorithm1.sgd.clamp", run(Algorithm::one, Optimizer::sgd, 500, true)}};
}

Tensor search_step_of(const Context& context, const std::vector<float>& values, index_t k) {
  constexpr index_t rows = 4, channels = 4, side = 8, pixels = side * side;
  Tensor out = context.empty({rows, side, side, channels});
  for (index_t b = 0; b < rows; ++b)
    for (index_t c = 0; c < channels; ++c)
      for (index_t p = 0; p < pixels; ++p)
        out.host()[(b * pixels + p) * channels + c] =
            values[static_cast<std::size_t>(((k * rows + b) * channels + c) * pixels + p)];
  return out;
}

TrainingBatch captioned_batch(const Context& context, const Golden& golden, const std::vector<float>& states, index_t k, bool shared) {
  constexpr index_t side = 8, channels = 4;
  const std::vector<std::int32_t> timesteps = golden.ints("timesteps"), captions = golden.ints("captions");
  const auto upload_step = [&](const char* name, DType dtype) {
    const std::vector<float> all = golden.floats(name);
    const Shape shape{kGoldenRows, side, side, channels};
    const auto first = all.begin() + k * shape.size();
    return upload_channels_last(context, {first, first + shape.size()}, shape, dtype);
  };
  TrainingBatch batch;
  batch.latents = upload_step("noisy", context.backend->activation());
  batch.target = upload_step("noise", DType::f32);
  batch.timesteps.assign(timesteps.begin() + k * kGoldenRows, timesteps.begin() + (k + 1) * kGoldenRows);
  batch.weights = {0.5, 0.5, 0.5, 0.5};  // means over 2 subject rows and, with λ = 1, over 2 prior rows
  const index_t width = identifier_text_config().hidden_size, row = kGoldenTokens * width;
  std::vector<float> texts;
  for (index_t r = 0; r < kGoldenRows; ++r) {
    const int caption = captions[static_cast<std::size_t>(k * kGoldenRows + r)];
    const auto known = std::ranges::find(batch.captions, caption);
    if (shared) batch.texts.push_back(static_cast<int>(known - batch.captions.begin()));
    if (shared && known != batch.captions.end()) continue;
    batch.captions.push_back(caption);
    texts.insert(texts.end(), states.begin() + caption * row, states.begin() + (caption + 1) * row);
  }
  batch.embeddings = upload(context, texts, {static_cast<index_t>(batch.captions.size()), kGoldenTokens, width});
  return batch;
}

}  // namespace cones::test
