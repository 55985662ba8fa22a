// CLIP on a card against PyTorch in 16 bits: text states and their gradients, embeddings of the pair.
#include <atomic>

#include "half_golden.h"
#include "harness.h"
#include "jobs/clip_pair.h"
#include "jobs/encode_text.h"
#include "jobs/token_gradient.h"
#include "tiny_model.h"
#include "watched_library.h"

using namespace cones;
using namespace cones::test;

namespace {

const std::atomic<bool> kWanted = false;

// Of the configs there.
const TextConfig kSd1{.vocab_size = 300, .hidden_size = 48, .intermediate_size = 96, .layers = 3, .heads = 4,
                      .max_positions = 77, .activation = Activation::quick_gelu, .layer_norm_eps = 1e-5f};
const TextConfig kSd2{.vocab_size = 290, .hidden_size = 40, .intermediate_size = 160, .layers = 2, .heads = 1,
                      .max_positions = 16, .activation = Activation::gelu, .layer_norm_eps = 1e-4f};

ClipConfig pair_config(Activation activation, int eos_token_id) {
  return {.text = {.vocab_size = 100, .hidden_size = 32, .intermediate_size = 48, .layers = 2, .heads = 2,
                   .max_positions = 20, .activation = activation, .layer_norm_eps = 1e-5f},
          .vision = {.channels = 3, .image_size = 24, .patch_size = 8, .hidden_size = 40, .intermediate_size = 64,
                     .layers = 2, .heads = 2, .activation = activation, .layer_norm_eps = 1e-5f},
          .projection_size = 24,
          .eos_token_id = eos_token_id};
}

void compare_text(const std::string& name, const TextConfig& config) {
  for (const jobs::Precision precision : kHalves) {
    HalfGolden golden(name, precision);
    ModelOptions options = tiny_options();
    options.files.text = {golden->path("text_encoder/model.safetensors")};
    options.text = config;
    const auto model = on_card(options, precision);
    const Context context = model->context(nullptr);
    const index_t rows = golden->dim("input_ids", 0);
    const std::vector<std::int32_t> ids = golden->ints("input_ids");
    const std::vector<float> states = jobs::encode_text(context, *model, {rows, ids, {}, {}});
    EXPECT_HALF(golden, "last_hidden_state", states);

    // Back from the golden's loss, Σ_b weight_b · mean((states_b − target_b)²).
    const std::vector<float> target = golden->floats("target"), weights = golden->floats("weights");
    const std::size_t size = states.size() / weights.size();
    std::vector<float> upstream;
    for (std::size_t i = 0; i < states.size(); ++i)
      upstream.push_back(2 * weights[i / size] / static_cast<float>(size) * (states[i] - target[i]));
    const std::vector<std::int32_t> tokens = golden->ints("token_ids");
    EXPECT_HALF(golden, "grad.token_embedding", jobs::token_gradient(context, *model, {rows, ids, tokens, upstream}));
    // Gradients as small as those of a loss over Stable Diffusion's latents: the job is linear in them.
    for (float& value : upstream) value *= 0x1p-12f;
    std::vector<float> small = jobs::token_gradient(context, *model, {rows, ids, tokens, upstream});
    for (float& value : small) value *= 0x1p12f;
    EXPECT_HALF(golden, "grad.token_embedding", small);
    EXPECT_ONLY_KERNELS(3);
  }
}

void compare_pair(const std::string& name, const ClipConfig& config) {
  for (const jobs::Precision precision : kHalves) {
    HalfGolden golden(name, precision);
    const jobs::ClipPair clip({.files = {golden->path("model.safetensors")}, .config = config,
                               .place = watched_place(precision)});
    const index_t pictures = golden->dim("pixel_values", 0), side = config.vision.image_size;
    const std::vector<float> first = golden->floats("pixel_values");
    std::vector<float> pixels;
    for (index_t b = 0; b < pictures; ++b)
      for (index_t p = 0; p < side * side; ++p)
        for (index_t c = 0; c < 3; ++c) pixels.push_back(first[static_cast<std::size_t>((b * 3 + c) * side * side + p)]);
    EXPECT_HALF(golden, "image_embeds", clip.embed_images(pixels, pictures, kWanted));
    EXPECT_HALF(golden, "text_embeds", clip.embed_texts(golden->ints("input_ids"), golden->dim("input_ids", 0), kWanted));
    EXPECT_ONLY_KERNELS(2);
  }
}

}  // namespace

TEST("text encoder as Stable Diffusion 1's") { compare_text("clip-sd1", kSd1); }
TEST("text encoder as Stable Diffusion 2's") { compare_text("clip-sd2", kSd2); }
TEST("a pair whose text ends at the highest id") { compare_pair("clip-model-highest-id", pair_config(Activation::quick_gelu, 2)); }
TEST("a pair whose text ends at a token") { compare_pair("clip-model-first-eos", pair_config(Activation::gelu, 50)); }
