#include "diffusion/training_batch.h"

#include <array>
#include <cmath>

#include "base/rng.h"
#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr index_t kSide = 4, kChannels = 3, kSize = kSide * kSide * kChannels;
constexpr double kScale = 0.18215;
const std::array<double, 3> kAlphasCumprod{0.999, 0.4, 0.005};

// Two pictures: [picture][pixel][mean, then log-variance of the channels].
Tensor make_moments(const Context& context, double log_variance) {
  Tensor moments = context.empty({2, kSide, kSide, 2 * kChannels});
  const auto means = random_values(static_cast<std::size_t>(moments.size()), 1);
  for (index_t i = 0; i < moments.size(); ++i)
    moments.host()[i] = static_cast<float>(i % (2 * kChannels) < kChannels ? means[static_cast<std::size_t>(i)] : log_variance);
  return moments;
}

double mean(const Tensor& moments, index_t picture, index_t i) {
  return static_cast<double>(moments.host()[(picture * kSize + i / kChannels * kChannels) * 2 + i % kChannels]);
}

TrainingBatch noised(const Context& context, const Tensor& moments, Prediction prediction, const NoisedRow& row) {
  TrainingBatch batch;
  make_noised_rows(context, moments, kScale, kAlphasCumprod, prediction, std::array{row}, batch);
  return batch;
}

}  // namespace

// Salimans & Ho 2022 (arXiv 2202.00512): z = (x − σ ε) / α, and z = α x − σ v.
TEST("the picture is recovered from what the UNet sees and should answer") {
  const Context context = make_context();
  const Tensor moments = make_moments(context, -100);  // clamped to -30: z is the mean but for e^-15 of noise
  for (const Prediction prediction : {Prediction::epsilon, Prediction::v_prediction})
    for (int timestep = 0; timestep < 3; ++timestep) {
      const TrainingBatch batch = noised(context, moments, prediction, {1, timestep, {.seed = 5, .offset = 64}});
      EXPECT(batch.timesteps == std::vector<double>{static_cast<double>(timestep)});
      const double alpha = std::sqrt(kAlphasCumprod[static_cast<std::size_t>(timestep)]);
      const double sigma = std::sqrt(1 - alpha * alpha);
      for (index_t i = 0; i < kSize; ++i) {
        const double x = static_cast<double>(batch.latents.host()[i]), target = static_cast<double>(batch.target.host()[i]);
        const double z = prediction == Prediction::epsilon ? (x - sigma * target) / alpha : alpha * x - sigma * target;
        EXPECT(std::abs(z - kScale * mean(moments, 1, i)) < 1e-6 + 1e-6 / alpha);
      }
    }
}

TEST("the noise is the second half of a row's stream, the posterior's the first") {
  const Context context = make_context();
  const Tensor moments = make_moments(context, 2 * std::log(0.5));  // σ = 1/2
  std::vector<float> normals(2 * kSize);
  philox_normal(5, 64, normals.data(), 2 * kSize);
  const TrainingBatch batch = noised(context, moments, Prediction::epsilon, {0, 1, {.seed = 5, .offset = 64}});
  for (index_t i = 0; i < kSize; ++i) {
    EXPECT(batch.target.host()[i] == normals[static_cast<std::size_t>(kSize + i)]);
    const double z = kScale * (mean(moments, 0, i) + 0.5 * static_cast<double>(normals[static_cast<std::size_t>(i)]));
    const double x = std::sqrt(0.4) * z + std::sqrt(0.6) * static_cast<double>(batch.target.host()[i]);
    EXPECT(std::abs(static_cast<double>(batch.latents.host()[i]) - x) < 1e-6);
  }
}
