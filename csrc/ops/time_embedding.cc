#include "ops/time_embedding.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones {

Tensor timestep_embedding(const Context& context, std::span<const double> timesteps, index_t dim,
                          bool flip_sin_to_cos, double freq_shift) {
  const index_t half = dim / 2;
  check(half > 0 && static_cast<double>(half) != freq_shift, "timestep_embedding: dim / 2 above 0 and off freq_shift");
  std::vector<float> values(timesteps.size() * static_cast<std::size_t>(dim));
  float* row = values.data();
  for (const double t : timesteps) {
    for (index_t i = 0; i < half; ++i) {
      const double angle =
          t * std::exp(-std::log(10000.0) * static_cast<double>(i) / (static_cast<double>(half) - freq_shift));
      row[i] = static_cast<float>(flip_sin_to_cos ? std::cos(angle) : std::sin(angle));
      row[half + i] = static_cast<float>(flip_sin_to_cos ? std::sin(angle) : std::cos(angle));
    }
    row += dim;
  }
  return upload(context, values, {static_cast<index_t>(timesteps.size()), dim});
}

}  // namespace cones
