// The samplers' and the training rows' arithmetic, in double per element.
#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "cpu/backend.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 14;  // elements

}  // namespace

Tensor Cpu::scale_input(const Context& context, const Tensor& x, double factor) const {
  Tensor scaled = context.empty(x.shape());
  parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) scaled.host()[i] = static_cast<float>(factor * static_cast<double>(x.host()[i]));
  });
  return scaled;
}

Tensor Cpu::crop_rows(const Context& context, const Tensor& x, const Windows& windows) const {
  const index_t height = x.dim(1), width = x.dim(2), channels = x.columns(), regions = windows.regions();
  Tensor y = context.empty({x.dim(0) * regions, windows.height, windows.width, channels});
  parallel(y.dim(0) * windows.height, kGrain / (windows.width * channels) + 1, [&](index_t begin, index_t end, int) {
    for (index_t line = begin; line < end; ++line) {
      const index_t row = line / windows.height;
      const auto [top, left] = windows.corners[static_cast<std::size_t>(row % regions)];
      const index_t from = (row / regions * height + top + line % windows.height) * width + left;
      std::copy_n(x.host() + from * channels, windows.width * channels, y.host() + line * windows.width * channels);
    }
  });
  return y;
}

Tensor Cpu::blend_rows(const Context& context, const Tensor& x, const Tensor& weights, const Windows& windows) const {
  const index_t height = weights.dim(1), width = weights.dim(2), channels = x.columns(), regions = windows.regions();
  const index_t positions = height * width;
  Tensor y = context.empty({x.dim(0) / regions, height, width, channels});
  parallel(y.dim(0) * positions, kGrain / channels + 1, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const index_t picture = i / positions, position = i % positions;
      for (index_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (index_t r = 0; r < regions; ++r) {
          const auto [top, left] = windows.corners[static_cast<std::size_t>(r)];
          const index_t row = position / width - top, column = position % width - left, region = picture * regions + r;
          if (row < 0 || row >= windows.height || column < 0 || column >= windows.width) continue;
          const index_t from = (region * windows.height + row) * windows.width + column;
          sum += static_cast<double>(weights.host()[region * positions + position]) * static_cast<double>(x.host()[from * channels + c]);
        }
        y.host()[i * channels + c] = static_cast<float>(sum);
      }
    }
  });
  return y;
}

void Cpu::solver_step(const Context& context, const SolverInput& in, const SolverStep& step, Tensor& prediction,
                      Tensor& next) const {
  const index_t batch = in.x.dim(0), picture = in.x.size() / batch;
  prediction = context.empty(in.x.shape());
  next = context.empty(in.x.shape());
  run(batch, [&](index_t b, int) {
    // Values [0, picture) of a seed are the initial latents; every step takes the next stretch.
    std::vector<float> noise(step.noise != 0 ? static_cast<std::size_t>(picture) : 0);
    if (step.noise != 0)
      philox_normal(in.seeds[static_cast<std::size_t>(b)], static_cast<std::uint64_t>(picture) * (in.steps_done + 1),
                    noise.data(), picture);
    for (index_t k = 0; k < picture; ++k) {
      const index_t j = b * picture + k;
      const auto output = [&](index_t side) { return static_cast<double>(in.output.host()[side * in.x.size() + j]); };
      double o = output(0);
      if (in.by_picture) {
        o = o + in.image_guidance * (output(1) - o) + in.guidance * (output(2) - output(1));
      } else if (in.guided) {
        o = o + in.guidance * (output(1) - o);
      }
      const double old = static_cast<double>(in.x.host()[j]);
      const double m = step.prediction_from_x * old + step.prediction_from_output * o;
      double value = step.x_from_x * old + step.x_from_prediction * m;
      for (std::size_t p = 0; p < in.previous.size(); ++p)
        if (step.x_from_previous[p] != 0 && in.previous[p].defined()) value += step.x_from_previous[p] * static_cast<double>(in.previous[p].host()[j]);
      if (step.noise != 0) value += step.noise * static_cast<double>(noise[static_cast<std::size_t>(k)]);
      prediction.host()[j] = static_cast<float>(m);
      next.host()[j] = static_cast<float>(value);
    }
  });
}

Tensor Cpu::keep_known(const Context& context, const Tensor& x, const Tensor& image, const Tensor& noise, const Tensor& mask,
                       double image_share, double noise_share) const {
  const index_t channels = x.columns();
  Tensor y = context.empty(x.shape());
  parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) {
      const double known = image_share * static_cast<double>(image.host()[i]) + noise_share * static_cast<double>(noise.host()[i]);
      const double free = static_cast<double>(mask.host()[i / channels]);
      y.host()[i] = static_cast<float>(free * static_cast<double>(x.host()[i]) + (1 - free) * known);
    }
  });
  return y;
}

void Cpu::noised_rows(const Context& context, const Tensor& moments, double latent_scale, std::span<const double> alphas_cumprod,
                      Prediction prediction, std::span<const NoisedRow> rows, Tensor& latents, Tensor& target_out) const {
  const index_t height = moments.dim(1), width = moments.dim(2), channels = moments.dim(3) / 2;
  const index_t count = static_cast<index_t>(rows.size()), size = height * width * channels;
  latents = context.empty({count, height, width, channels});
  target_out = context.empty({count, height, width, channels});
  run(count, [&](index_t r, int) {
    const NoisedRow& row = rows[static_cast<std::size_t>(r)];
    const double alpha_bar = alphas_cumprod[static_cast<std::size_t>(row.timestep)];
    const double signal = std::sqrt(alpha_bar), sigma = std::sqrt(1 - alpha_bar);
    std::vector<float> noise(static_cast<std::size_t>(2 * size));
    philox_normal(row.noise.seed, row.noise.offset, noise.data(), 2 * size);

    const float* moment = moments.host() + row.picture * 2 * size;
    float* x = latents.host() + r * size;
    float* target = target_out.host() + r * size;
    for (index_t pixel = 0; pixel < height * width; ++pixel) {
      for (index_t c = 0; c < channels; ++c) {
        const index_t i = pixel * channels + c;
        const double mean = static_cast<double>(moment[pixel * 2 * channels + c]);
        const double log_variance =
            std::clamp(static_cast<double>(moment[pixel * 2 * channels + channels + c]), -30.0, 20.0);
        const double posterior = static_cast<double>(noise[static_cast<std::size_t>(i)]);
        const double epsilon = static_cast<double>(noise[static_cast<std::size_t>(size + i)]);
        const double z = latent_scale * (mean + std::exp(0.5 * log_variance) * posterior);
        x[i] = static_cast<float>(signal * z + sigma * epsilon);
        target[i] = static_cast<float>(prediction == Prediction::epsilon ? epsilon : signal * epsilon - sigma * z);
      }
    }
  });
}

}  // namespace cones
