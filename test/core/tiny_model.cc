#include "tiny_model.h"

#include "harness.h"
#include "jobs/mask.h"
#include "jobs/place.h"

namespace cones::test {
namespace {

const std::string kFolder = "test/goldens/models/pipeline/";

void fill_latents(jobs::LatentInput& in, const Model& model, index_t batch, unsigned seed) {
  in.shape = {batch, kSide, kSide, model.unet().config().out_channels};
  in.tokens = kTokens;
  in.latents = floats(in.shape.size(), seed);
  in.embeddings = floats(in.text_shape(model).size(), seed + 1);
}

}  // namespace

ModelOptions tiny_options() {
  ModelOptions o;
  o.files = {.text = {kFolder + "text_encoder/model.safetensors"},
             .unet = {kFolder + "unet/diffusion_pytorch_model.safetensors"},
             .vae = {kFolder + "vae/diffusion_pytorch_model.safetensors"}};
  o.text = {.vocab_size = 514, .hidden_size = 32, .intermediate_size = 64, .layers = 2, .heads = 4, .max_positions = 77,
            .activation = Activation::quick_gelu, .layer_norm_eps = 1e-5f};
  o.unet.block_out_channels = {16, 32};
  o.unet.down_attention = {true, false};
  o.unet.up_attention = {false, true};
  o.unet.layers_per_block = {1, 1};
  o.unet.heads = {2, 2};
  o.unet.transformer_layers = {1, 1};
  o.unet.cross_attention_dim = 32;
  o.unet.norm_groups = 8;
  o.vae.block_out_channels = {8, 8, 16, 16};
  o.vae.layers_per_block = 1;
  o.vae.norm_groups = 4;
  o.place = jobs::place({});
  return o;
}

std::shared_ptr<const Model> tiny_model(std::size_t limit) {
  static const std::size_t weights = Model(tiny_options()).memory().weights;
  ModelOptions limited = tiny_options();
  limited.memory_limit = weights + limit;
  return std::make_shared<const Model>(limited);
}

std::shared_ptr<const Model> tiny_inpainting_model(std::size_t limit) {
  ModelOptions o = tiny_options();
  o.files.unet = {"test/goldens/models/editing/inpainting/diffusion_pytorch_model.safetensors"};
  o.unet.in_channels = 9;
  o.unet.block_out_channels = {8, 16};
  o.unet.norm_groups = 4;
  static const std::size_t weights = Model(o).memory().weights;
  o.memory_limit = weights + limit;
  return std::make_shared<const Model>(o);
}

std::size_t peak_of(const Model& model) { return model.memory().peak - model.memory().weights; }

std::vector<float> floats(index_t count, unsigned seed) {
  const std::vector<double> values = random_values(static_cast<std::size_t>(count), seed);
  return {values.begin(), values.end()};
}

std::shared_ptr<const ConceptMask> mask_of(const std::shared_ptr<const Model>& model, std::uint32_t stride) {
  std::vector<std::vector<std::uint32_t>> indices;
  for (const KvWeights* weights : model->unet().kv_tensors()) {
    auto& shut = indices.emplace_back();
    for (std::uint32_t i = 0; i < weights->parameter().size(); i += stride) shut.push_back(i);
  }
  const std::atomic<bool> aborted = false;
  const auto made = jobs::make_mask(model, indices, aborted);
  return {made, &made->mask};
}

std::shared_ptr<const Adapter> adapter_of(const std::shared_ptr<const Model>& model, index_t rank, unsigned seed) {
  jobs::AdapterLayers layers;
  const auto tensor = [&](const Shape& shape) {
    const std::vector<float> values = floats(shape.size(), ++seed);
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    return jobs::AdapterTensor{shape, DType::f32, std::make_shared<const std::vector<std::byte>>(bytes, bytes + 4 * values.size())};
  };
  for (const Parameter* weight : model->adaptable(false)) {
    const Shape& s = weight->shape;
    layers.push_back({.name = weight->name,
                      .scale = 0.05,
                      .down = tensor(s.rank() == 4 ? Shape{rank, s[1], s[2], s[3]} : Shape{rank, s[1]}),
                      .up = tensor({s[0], rank})});
  }
  const std::atomic<bool> aborted = false;
  return jobs::make_adapter(model, layers, aborted)->adapter;
}

jobs::TrainingInput training_input(const Model& model, index_t batch, unsigned seed) {
  jobs::TrainingInput in;
  fill_latents(in, model, batch, seed);
  for (index_t b = 0; b < batch; ++b) {
    in.timesteps.push_back(100.0 * static_cast<double>(b + 1));
    in.weights.push_back(1 / static_cast<double>(b + 1));
  }
  in.target = floats(in.shape.size(), seed + 2);
  return in;
}

jobs::Drawing drawing_input(const Model& model, index_t batch, int steps, bool guided, unsigned seed) {
  jobs::Drawing in;
  fill_latents(in, model, batch, seed);
  in.guided = guided;
  in.guidance = guided ? 3 : 1;
  if (guided) in.negative = floats(in.text_shape(model).size(), seed + 2);
  for (int k = steps; k > 0; --k)
    in.steps.push_back({.timestep = 900.0 * k / steps, .input_scale = 0.9, .prediction_from_x = 1, .prediction_from_output = -0.3,
                        .x_from_x = 0.6, .x_from_prediction = 0.3, .x_from_previous = {0.05}, .noise = 0.1});
  for (index_t b = 0; b < batch; ++b) in.seeds.push_back(seed + static_cast<std::uint64_t>(b));
  return in;
}

jobs::Drawing edit_input(const Model& model, index_t batch, int steps, bool by_picture, bool known, unsigned seed) {
  jobs::Drawing in = drawing_input(model, batch, steps, true, seed);
  const index_t positions = batch * kSide * kSide, beside = model.unet().config().in_channels - in.shape[3];
  in.conditions = floats(positions * beside, seed + 5);
  in.by_picture = by_picture;
  in.image_guidance = 1.5;
  in.known = known;
  if (!known) return in;
  in.image = floats(in.shape.size(), seed + 6);
  in.noise = floats(in.shape.size(), seed + 7);
  for (index_t i = 0; i < positions; ++i) in.repaint.push_back(i % 3 == 0 ? 0.0f : 1.0f);
  for (int k = 1; k <= steps; ++k) in.shares.push_back({0.9, k == steps ? 0.0 : 0.4});
  return in;
}

jobs::Drawing regional_input(const Model& model, index_t batch, index_t regions, bool guided, unsigned seed) {
  jobs::Drawing in = drawing_input(model, batch, 3, guided, seed);
  in.regions = regions;
  in.windows = {in.shape[1], in.shape[2], std::vector<std::array<index_t, 2>>(static_cast<std::size_t>(regions))};
  in.embeddings = floats(in.text_shape(model).size(), seed + 3);
  if (guided) in.negative = floats(in.text_shape(model).size(), seed + 4);
  const index_t positions = in.shape[1] * in.shape[2];
  for (index_t row = 0; row < batch * regions; ++row)
    for (index_t i = 0; i < positions; ++i)
      in.weights.push_back(static_cast<float>(1 + (row + i) % regions) * 2 / static_cast<float>(regions * (regions + 1)));
  return in;
}

}  // namespace cones::test
