// Autoencoders on a card against PyTorch in bf16, which they have whatever the model's precision.
#include "half_golden.h"
#include "harness.h"
#include "jobs/pictures.h"
#include "tiny_model.h"
#include "watched_library.h"

using namespace cones;
using namespace cones::test;

namespace {

// Of the configs there.
const VaeConfig kSd1{.block_out_channels = {32, 32, 32, 64}};
const VaeConfig kSmall{.latent_channels = 3, .block_out_channels = {16, 24}, .layers_per_block = 1, .norm_groups = 8,
                       .quant_conv = false, .post_quant_conv = false};
const VaeConfig kNoAttention{.block_out_channels = {16}, .layers_per_block = 1, .norm_groups = 4, .mid_attention = false};

/// [B, H, W, 3] of [B, 3, H, W], or back.
std::vector<float> moved(const std::vector<float>& from, index_t batch, index_t pixels, bool channels_last) {
  std::vector<float> to(from.size());
  for (index_t b = 0; b < batch; ++b)
    for (index_t c = 0; c < 3; ++c)
      for (index_t p = 0; p < pixels; ++p) {
        const auto first = static_cast<std::size_t>((b * 3 + c) * pixels + p), last = static_cast<std::size_t>((b * pixels + p) * 3 + c);
        to[channels_last ? last : first] = from[channels_last ? first : last];
      }
  return to;
}

void compare(const std::string& name, const VaeConfig& config) {
  HalfGolden golden(name, jobs::Precision::bf16);
  ModelOptions options = tiny_options();
  options.files.vae = {golden->path("vae/diffusion_pytorch_model.safetensors")};
  options.vae = config;
  const auto model = on_card(options, jobs::Precision::automatic);
  const Context context = model->vae_context(nullptr);
  const index_t batch = golden->dim("image", 0), height = golden->dim("image", 2), width = golden->dim("image", 3);
  const std::vector<float> pixels = moved(golden->floats("image"), batch, height * width, true), latents = golden->floats("latents");
  EXPECT_HALF(golden, "moments", jobs::encode_images(context, *model, {batch, height, width, pixels}));
  const std::vector<float> decoded =
      jobs::decode_latents(context, *model, {batch, golden->dim("latents", 2), golden->dim("latents", 3), latents});
  EXPECT_HALF(golden, "decoded", moved(decoded, batch, golden->dim("decoded", 2) * golden->dim("decoded", 3), false));
  EXPECT_ONLY_KERNELS(2);
}

}  // namespace

TEST("as Stable Diffusion 1") { compare("vae-sd1", kSd1); }
TEST("two levels, no convolutions round the latents") { compare("vae-small", kSmall); }
TEST("no attention") { compare("vae-no-attention", kNoAttention); }
