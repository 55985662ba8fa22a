// The autoencoder against diffusers, on every instruction set, and what its callers rely on.
#include "model/vae.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "golden.h"
#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr const char* kFile = "vae/diffusion_pytorch_model.safetensors";

const VaeConfig kSd1{.block_out_channels = {32, 32, 32, 64}};
const VaeConfig kSmall{.latent_channels = 3, .block_out_channels = {16, 24}, .layers_per_block = 1, .norm_groups = 8,
                       .quant_conv = false, .post_quant_conv = false};
const VaeConfig kNoAttention{.block_out_channels = {16}, .layers_per_block = 1, .norm_groups = 4, .mid_attention = false};

struct Autoencoder {
  Autoencoder(const Context& context, const std::string& name, const VaeConfig& config)
      : golden(name), weights({golden.path(kFile)}), vae(context, weights, config) {
    weights.check_all_used();
  }

  Tensor encode(const Context& context, const Tensor& pixels) const {
    Tape tape(context);
    return vae.encode(tape, Var(pixels)).value();
  }
  Tensor decode(const Context& context, const Tensor& latents) const {
    Tape tape(context);
    return vae.decode(tape, Var(latents)).value();
  }

  Golden golden;
  Weights weights;
  Vae vae;
};

void compare(const char* isa, const std::string& name, const VaeConfig& config) {
  const Context context = make_context(1, isa);
  const Autoencoder model(context, name, config);
  EXPECT_GOLDEN(model.golden, "moments",
                channels_first(model.encode(context, model.golden.channels_last(context, "image"))));
  EXPECT_GOLDEN(model.golden, "decoded",
                channels_first(model.decode(context, model.golden.channels_last(context, "latents"))));
}

/// A copy of vae-sd1's file in which the attention weights [C, C] are 1×1 convolutions [C, C, 1, 1].
std::string convolution_attention(const std::string& source, const std::filesystem::path& target) {
  std::ifstream in(source, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::size_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  std::string header = bytes.substr(8, length);
  int replaced = 0;
  for (const char* name : {"query", "key", "value", "proj_attn"})
    for (std::size_t at = 0; (at = header.find(std::string(".") + name + ".weight\"", at)) != std::string::npos; ++at) {
      const std::size_t shape = header.find("[64,64]", at);
      header.replace(shape, 7, "[64,64,1,1]");
      ++replaced;
    }
  EXPECT(replaced == 8);
  std::string prefix(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) prefix[i] = static_cast<char>(header.size() >> (8 * i));
  std::ofstream(target, std::ios::binary) << prefix << header << bytes.substr(8 + length);
  return target.string();
}

}  // namespace

TEST("autoencoder equals diffusers") {
  for (const char* isa : instruction_sets()) {
    compare(isa, "vae-sd1", kSd1);  // under the old names of the attention weights
    compare(isa, "vae-small", kSmall);
    compare(isa, "vae-no-attention", kNoAttention);
  }
}

TEST("attention weights stored as 1x1 convolutions are the same weights") {
  const Context context = make_context();
  const Autoencoder linear(context, "vae-sd1", kSd1);
  const auto path = std::filesystem::temp_directory_path() / ("cones-vae-" + std::to_string(::getpid()));
  Weights weights({convolution_attention(linear.golden.path(kFile), path)});
  std::filesystem::remove(path);  // the open file stays
  const Vae vae(context, weights, kSd1);
  const Tensor latents = linear.golden.channels_last(context, "latents");
  Tape tape(context);
  EXPECT(values(vae.decode(tape, Var(latents)).value()) == values(linear.decode(context, latents)));
}

TEST("a picture does not depend on its neighbours or on the number of threads") {
  const Context context = make_context(1), two = make_context(2);
  const Autoencoder model(context, "vae-small", kSmall);
  const Tensor latents = model.golden.channels_last(context, "latents"), image = model.golden.channels_last(context, "image");
  const Tensor pictures = model.decode(context, latents), moments = model.encode(context, image);
  EXPECT(values(model.decode(context, latents.slice(1, 2))) == values(pictures.slice(1, 2)));
  EXPECT(values(model.encode(context, image.slice(1, 2))) == values(moments.slice(1, 2)));
  EXPECT(values(model.decode(two, latents)) == values(pictures));
  EXPECT(values(model.encode(two, image)) == values(moments));
}

TEST("the peak of memory is known before") {
  const Context context = make_context();
  const Autoencoder model(context, "vae-sd1", kSd1);
  const Shape pixels{1, 40, 48, 3}, latents{1, 5, 6, 4};
  const auto peak_of = [&](const Context& in, bool decode) {
    const std::size_t before = in.memory->in_use();
    in.memory->reset_peak();
    decode ? model.decode(in, in.zeros(latents)) : model.encode(in, in.zeros(pixels));
    return in.memory->peak() - before;
  };
  for (const bool decode : {false, true}) {
    const Context planning = context.plan();
    const std::size_t planned = peak_of(planning, decode);
    EXPECT(planned > 0);
    EXPECT(peak_of(context, decode) == planned);
  }
}

TEST("odd sides are rounded down") {
  const Context context = make_context();
  const Autoencoder model(context, "vae-sd1", kSd1);
  EXPECT(model.encode(context, context.zeros({1, 31, 17, 3})).shape() == (Shape{1, 3, 2, 8}));
  EXPECT(model.encode(context, context.zeros({1, 8, 15, 3})).shape() == (Shape{1, 1, 1, 8}));
  EXPECT(model.decode(context, context.zeros({1, 3, 2, 4})).shape() == (Shape{1, 24, 16, 3}));
}

TEST("a picture smaller than one latent is an error") {
  const Context context = make_context();
  const Autoencoder model(context, "vae-sd1", kSd1);
  EXPECT_ERROR("CONES_OPTION_INVALID", model.encode(context, context.zeros({1, 7, 64, 3})));
  EXPECT_ERROR("CONES_OPTION_INVALID", model.encode(context, context.zeros({1, 64, 7, 3})));
}

TEST("the autoencoder stops when aborted") {
  Context context = make_context();
  const Autoencoder model(context, "vae-small", kSmall);
  const Tensor latents = context.zeros({1, 2, 2, 3}), pixels = context.zeros({1, 4, 4, 3});
  const std::atomic<bool> aborted{true};
  context.aborted = &aborted;
  EXPECT_ERROR("CONES_ABORTED", model.decode(context, latents));
  EXPECT_ERROR("CONES_ABORTED", model.encode(context, pixels));
}
