// A whole model on a card against PyTorch in 16 bits: text states and guided DDIM trajectories. (The other samplers' coefficients are
// lib/'s alone, and run in the same loop.)
#include <cmath>

#include "half_golden.h"
#include "harness.h"
#include "jobs/drawing.h"
#include "jobs/encode_text.h"
#include "ops/transfer.h"
#include "tiny_model.h"
#include "watched_library.h"

using namespace cones;
using namespace cones::test;

namespace {

/// ᾱ of pipeline/scheduler/scheduler_config.json: scaled_linear.
std::vector<double> alphas_cumprod() {
  constexpr int steps = 1000;
  const double first = std::sqrt(0.00085), last = std::sqrt(0.012);
  std::vector<double> products;
  double product = 1;
  for (int t = 0; t < steps; ++t) {
    const double root = first + (last - first) * t / (steps - 1);
    products.push_back(product *= 1 - root * root);
  }
  return products;
}

/// Song et al. 2020, Eq. 12 with η = 0, solved for x' as the loop wants it: ε = (x − √ᾱ x0) / √(1 − ᾱ).
std::vector<SolverStep> ddim(const std::vector<float>& timesteps, bool v_prediction) {
  const std::vector<double> products = alphas_cumprod();
  const std::size_t stride = products.size() / timesteps.size();
  std::vector<SolverStep> steps;
  for (const float timestep : timesteps) {
    const auto t = static_cast<std::size_t>(timestep);
    const double product = products[t], previous = products[t >= stride ? t - stride : 0];
    const double alpha = std::sqrt(product), sigma = std::sqrt(1 - product), direction = std::sqrt(1 - previous);
    steps.push_back({.timestep = static_cast<double>(timestep), .input_scale = 1,
                     .prediction_from_x = v_prediction ? alpha : 1 / alpha, .prediction_from_output = v_prediction ? -sigma : -sigma / alpha,
                     .x_from_x = direction / sigma, .x_from_prediction = std::sqrt(previous) - direction * alpha / sigma,
                     .x_from_previous = {}, .noise = 0});
  }
  return steps;
}

void compare(int steps) {
  for (const jobs::Precision precision : kHalves) {
    HalfGolden golden("pipeline", precision);
    const auto model = on_card(tiny_options(), precision);
    const Context context = model->context(nullptr);
    const std::vector<float> negative = jobs::encode_text(context, *model, {1, golden->ints("negative_ids"), {}, {}});
    const std::vector<float> prompt = jobs::encode_text(context, *model, {1, golden->ints("prompt_ids"), {}, {}});
    EXPECT_HALF(golden, "negative_encoder_hidden_states", negative);
    EXPECT_HALF(golden, "encoder_hidden_states", prompt);
    std::int64_t results = 2;  // copied to the host: texts, latents
    for (const std::string prediction : {"epsilon", "v_prediction"}) {
      const std::string run = "ddim." + std::to_string(steps) + "." + prediction;
      jobs::Drawing in;
      in.shape = {1, kSide, kSide, 4};
      in.latents = golden->floats("noise");
      in.tokens = golden->dim("prompt_ids", 1);
      in.embeddings = prompt;
      in.guided = true;
      in.negative = negative;
      in.guidance = 7.5;
      in.steps = ddim(golden->floats(run + ".timesteps"), prediction == "v_prediction");
      in.seeds = {0};
      Sampling sampling = jobs::begin(context, *model, in);
      const Sampling::Part alone[] = {{&sampling, sampling.unfinished()}};
      for (int k = 1; k <= steps; ++k) {
        Sampling::advance(context, model->unet(), alone);
        if (steps != 4 && k != 1 && k != 25 && k != 50) continue;
        EXPECT_HALF(golden, run + ".latents." + std::to_string(k), download_channels_first(context, sampling.latents(context)));
        ++results;
      }
    }
    EXPECT_ONLY_KERNELS(results);
  }
}

}  // namespace

TEST("four steps") { compare(4); }

TEST("fifty steps") {
  if (test_all()) compare(50);
}
