#include "jobs/pictures.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/error.h"
#include "jobs/plan.h"
#include "ops/transfer.h"

namespace cones::jobs {
namespace {

using Pass = Recipe<std::vector<float>, Pictures>;

std::size_t peak_of(Pass pass, const Model& model, const Pictures& in) {
  return plan_of(model.vae_context(nullptr), [&](const Context& context) { return pass(context, model, in); }).peak;
}

// Pixels of one pass through the autoencoder for each lane of the device, two pictures of 64 × 64: more gain nothing and leave the
// cache. At least one picture.
constexpr index_t kPassPixels = 2 * 64 * 64;

// The same number of others, without values.
Pictures sized(const Pictures& in, index_t count) { return {.count = count, .height = in.height, .width = in.width, .draft = in.draft}; }

// How many go in one pass: together, because small ones alone do not occupy the device; fewer where `available` bytes would
// not hold them, but always one. `pixels`: of a picture.
index_t per_pass(Pass recipe, const Model& model, const Pictures& in, index_t pixels,
                 std::size_t available) {
  const auto fits = [&](index_t count) { return peak_of(recipe, model, sized(in, count)) <= available; };
  index_t count = std::clamp<index_t>(model.options().place.lanes * kPassPixels / pixels, 1, in.count);
  while (count > 1 && !fits(count)) --count;
  return count;
}

const Vae& decoder_of(const Model& model, const Pictures& in) {
  if (!in.draft) return model.vae();
  if (model.drafts() == nullptr) fail("CONES_OPTION_INVALID", "The model was loaded without an autoencoder for drafts.");
  return *model.drafts();
}

index_t pixels_of_pictures(const Model&, const Pictures& in) { return in.height * in.width; }

index_t pixels_of_latents(const Model& model, const Pictures& in) {
  const index_t scale = decoder_of(model, in).downscale();
  return in.height * in.width * scale * scale;
}

// `count` pictures from `first` on.
Pictures some(const Pictures& in, index_t first, index_t count) {
  const std::size_t all = in.values.size();
  if (all % static_cast<std::size_t>(in.count) != 0)
    fail("CONES_OPTION_INVALID", "An array of " + std::to_string(all) + " elements has not " + std::to_string(in.count) +
                                     " equal rows.");
  const std::size_t size = all / static_cast<std::size_t>(in.count);
  return {count, in.height, in.width,
          in.values.subspan(static_cast<std::size_t>(first) * size, static_cast<std::size_t>(count) * size), in.draft};
}

// Latents [B, C, h, w] as moments [B, 2C, h, w] of next to no variance: the least that whoever samples takes.
std::vector<float> with_log_variances(const std::vector<float>& latents, index_t count) {
  const std::size_t each = latents.size() / static_cast<std::size_t>(count);
  std::vector<float> moments;
  for (std::size_t at = 0; at < latents.size(); at += each) {
    moments.insert(moments.end(), latents.begin() + static_cast<std::ptrdiff_t>(at), latents.begin() + static_cast<std::ptrdiff_t>(at + each));
    moments.insert(moments.end(), each, -30.0f);
  }
  return moments;
}

std::vector<float> run_in_passes(Pass recipe, const Model& model, const Pictures& in,
                                 index_t pixels, const std::atomic<bool>& aborted) {
  const index_t pass = per_pass(recipe, model, in, pixels, model.available_memory());
  model.require_memory(peak_of(recipe, model, sized(in, pass)));
  const Context context = model.vae_context(&aborted);
  std::vector<float> all;
  for (index_t first = 0; first < in.count; first += pass) {
    const auto values = recipe(context, model, some(in, first, std::min(pass, in.count - first)));
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace

std::vector<float> encode_images(const Context& context, const Model& model, const Pictures& in) {
  Tape tape(context);
  const Tensor pixels = upload(context, in.values, {in.count, in.height, in.width, model.vae().config().in_channels});
  const std::vector<float> values = download_channels_first(context, model.vae().encode(tape, Var(pixels)).value());
  return model.vae().deterministic() ? with_log_variances(values, in.count) : values;
}

std::vector<float> decode_latents(const Context& context, const Model& model, const Pictures& in) {
  Tape tape(context);
  const Vae& vae = decoder_of(model, in);
  const bool tiny = vae.deterministic();
  std::vector<float> limited;
  if (tiny) std::ranges::transform(in.values, std::back_inserter(limited), TinyAutoencoder::limit);
  const Tensor latents = upload_channels_last(context, tiny ? std::span<const float>(limited) : in.values,
                                              {in.count, in.height, in.width, vae.config().latent_channels},
                                              context.backend->activation());
  std::vector<float> pixels = download(context, vae.decode(tape, Var(latents)).value());
  if (tiny) std::ranges::transform(pixels, pixels.begin(), TinyAutoencoder::pixel);
  return pixels;
}

std::vector<float> encode_in_passes(const Model& model, const Pictures& in, const std::atomic<bool>& aborted) {
  return run_in_passes(encode_images, model, in, pixels_of_pictures(model, in), aborted);
}

std::vector<float> decode_in_passes(const Model& model, const Pictures& in, const std::atomic<bool>& aborted) {
  return run_in_passes(decode_latents, model, in, pixels_of_latents(model, in), aborted);
}

std::size_t plan_encode(const Model& model, const Pictures& in, std::size_t available) {
  const index_t count = per_pass(encode_images, model, in, pixels_of_pictures(model, in), available);
  return peak_of(encode_images, model, sized(in, count));
}

std::size_t plan_decode(const Model& model, const Pictures& in, std::size_t available) {
  const index_t count = per_pass(decode_latents, model, in, pixels_of_latents(model, in), available);
  return peak_of(decode_latents, model, sized(in, count));
}

}  // namespace cones::jobs
