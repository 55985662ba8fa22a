// UNets on a card against PyTorch in 16 bits: output, loss, all gradients that the goldens have, masks per row.
#include <algorithm>
#include <atomic>
#include <functional>

#include "half_golden.h"
#include "harness.h"
#include "jobs/denoise.h"
#include "jobs/gradient.h"
#include "tiny_model.h"
#include "watched_library.h"

using namespace cones;
using namespace cones::test;

namespace {

const std::atomic<bool> kWanted = false;

UNetConfig config_of(std::vector<int> channels, std::vector<bool> down_attention, std::vector<int> heads, int text, int groups) {
  UNetConfig c;
  c.block_out_channels = std::move(channels);
  c.down_attention = std::move(down_attention);
  c.up_attention = {c.down_attention.rbegin(), c.down_attention.rend()};
  c.layers_per_block.assign(heads.size(), 1);
  c.transformer_layers.assign(heads.size(), 1);
  c.heads = std::move(heads);
  c.cross_attention_dim = text;
  c.norm_groups = groups;
  return c;
}

// Of the configs there.
const UNetConfig kTiny = config_of({8}, {true}, {2}, 12, 4);
const UNetConfig kSd2 = config_of({40, 80}, {true, false}, {1, 2}, 64, 8);
const UNetConfig kSd1 = [] {
  UNetConfig c = config_of({16, 16, 32, 32}, {true, true, true, false}, {4, 4, 4, 4}, 48, 8);
  c.layers_per_block = {2, 2, 2, 2};
  return c;
}();
const UNetConfig kOneLevel = [] {
  UNetConfig c = config_of({80}, {true}, {1}, 24, 20);
  c.center_input = true;
  return c;
}();
const UNetConfig kOdd = [] {
  UNetConfig c = config_of({24, 32, 48}, {false, true, true}, {1, 2, 3}, 40, 8);
  c.transformer_layers = {2, 2, 2};
  c.norm_eps = 1e-6f;
  c.flip_sin_to_cos = false;
  c.freq_shift = 1;
  return c;
}();
const UNetConfig kNoMid = [] {
  UNetConfig c = config_of({4, 8}, {false, true}, {2, 2}, 8, 2);
  c.mid_block = false;
  return c;
}();
const UNetConfig kLists = [] {
  UNetConfig c = config_of({8, 8, 12}, {true, true, false}, {1, 2, 4}, 20, 4);
  c.layers_per_block = {1, 2, 1};
  c.transformer_layers = {2, 1, 1};
  return c;
}();

std::vector<std::string> files_of(const Golden& golden) {
  if (golden.name() != "unet-odd") return {golden.path("unet/diffusion_pytorch_model.safetensors")};
  std::vector<std::string> shards;
  for (const char* shard : {"1", "2", "3"})
    shards.push_back(golden.path(std::string("unet/diffusion_pytorch_model-0000") + shard + "-of-00003.safetensors"));
  return shards;
}

jobs::MaskRows masks_of(const Golden& golden, const std::shared_ptr<const Model>& model, index_t batch) {
  jobs::MaskRows masks;
  for (index_t b = 0; b < batch; ++b) {
    std::vector<std::vector<std::uint32_t>> indices;
    for (const KvWeights* weights : model->unet().kv_tensors()) {
      const std::vector<std::int32_t> shut = golden.ints("mask." + std::to_string(b) + "." + weights->parameter().name);
      indices.emplace_back(shut.begin(), shut.end());
    }
    const auto made = jobs::make_mask(model, indices, kWanted);
    masks.push_back({made, &made->mask});
  }
  return masks;
}

void compare(const std::string& name, const UNetConfig& config) {
  for (const jobs::Precision precision : kHalves) {
    HalfGolden golden(name, precision);
    ModelOptions options = tiny_options();
    options.files.unet = files_of(golden.golden());
    options.unet = config;
    const auto model = on_card(options, precision);

    jobs::GradientInput in;
    in.shape = {golden->dim("sample", 0), golden->dim("sample", 2), golden->dim("sample", 3), golden->dim("sample", 1)};
    in.latents = golden->floats("sample");
    in.tokens = golden->dim("encoder_hidden_states", 1);
    in.embeddings = golden->floats("encoder_hidden_states");
    in.target = golden->floats("target");
    for (const std::int32_t timestep : golden->ints("timesteps")) in.timesteps.push_back(timestep);
    for (const float weight : golden->floats("weights")) in.weights.push_back(static_cast<double>(weight));
    in.want_latents = in.want_embeddings = true;

    const Context context = model->context(nullptr);
    const auto compare_pass = [&](const std::string& prefix) {
      const jobs::GradientResult got = jobs::gradient(context, *model, in);
      EXPECT_HALF(golden, prefix + "out", jobs::denoise(context, *model, in));
      EXPECT_HALF(golden, prefix + "loss", {static_cast<float>(got.loss)});
      EXPECT_HALF(golden, prefix + "grad.sample", got.latents);
      EXPECT_HALF(golden, prefix + "grad.encoder_hidden_states", got.embeddings);
      for (std::size_t i = 0; i < in.tensors.size(); ++i) EXPECT_HALF(golden, "grad." + in.tensors[i], values(got.gradients[i]));
      EXPECT_ONLY_KERNELS(1 + 3 + static_cast<std::int64_t>(in.tensors.size()));  // output; losses, two inputs' and the tensors' gradients
    };
    for (const std::string& tensor : golden->tensors())
      if (tensor.starts_with("grad.") && (tensor.ends_with(".weight") || tensor.ends_with(".bias"))) in.tensors.push_back(tensor.substr(5));
    EXPECT(!in.tensors.empty());
    compare_pass("");

    in.tensors.clear();
    in.masks = masks_of(golden.golden(), model, in.shape[0]);
    compare_pass("masked.");
  }
}

}  // namespace

TEST("no mid block") { compare("unet-no-mid", kNoMid); }
TEST("linear projections: every gradient") { compare("unet-tiny", kTiny); }
TEST("lists per level: every gradient") { compare("unet-lists", kLists); }
TEST("sizes that do not divide") { compare("unet-odd", kOdd); }
TEST("one level") { compare("unet-one-level", kOneLevel); }
TEST("as Stable Diffusion 1") { compare("unet-sd1", kSd1); }
TEST("as Stable Diffusion 2") { compare("unet-sd2", kSd2); }
