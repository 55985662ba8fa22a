// noised_rows against the formula of csrc/diffusion/training_batch.cc: all bits (the emulator's exp is the CPU's).
#include "noised_rows.h"

#include <algorithm>

#include "base/rng.h"
#include "same_bits.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

struct Case {
  std::int64_t pictures, batch, pixels, channels;
  bool v_prediction;
};

template <class T>
void run(const Case& c) {
  check::now = std::to_string(c.batch) + " rows, " + std::to_string(c.pixels) + "·" + std::to_string(c.channels) +
               (c.v_prediction ? ", v" : ", epsilon");
  const std::int64_t size = c.pixels * c.channels;
  const auto count = static_cast<std::size_t>(c.batch * size);
  std::vector<float> moments = check::normals<float>(static_cast<std::size_t>(c.pictures * size * 2), 3);
  // Log-variances beyond both limits.
  for (std::size_t i = 0; i < moments.size(); i += 7) moments[i] *= 30;
  std::vector<NoisedRow> rows;
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const double alpha_bar = (static_cast<double>(b % 9) + 0.5) / 10;
    rows.push_back({(b * 2 + 1) % c.pictures, std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar), check::random() * 0x100000001u,
                    static_cast<std::uint64_t>(b) * 77 + 5});
  }
  const double latent_scale = 0.18215;

  std::vector<float> latents(count), target(count), noise(static_cast<std::size_t>(2 * size));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const NoisedRow& row = rows[static_cast<std::size_t>(b)];
    cones::philox_normal(row.seed, row.offset, noise.data(), 2 * size);
    for (std::int64_t pixel = 0; pixel < c.pixels; ++pixel)
      for (std::int64_t channel = 0; channel < c.channels; ++channel) {
        const std::int64_t i = pixel * c.channels + channel;
        const float* moment = moments.data() + (row.picture * c.pixels + pixel) * 2 * c.channels;
        const double mean = moment[channel];
        const double log_variance = std::clamp(static_cast<double>(moment[c.channels + channel]), -30.0, 20.0);
        const double posterior = noise[static_cast<std::size_t>(i)], epsilon = noise[static_cast<std::size_t>(size + i)];
        const double z = latent_scale * (mean + std::exp(0.5 * log_variance) * posterior);
        const auto j = static_cast<std::size_t>(b * size + i);
        latents[j] = static_cast<float>(row.signal * z + row.sigma * epsilon);
        target[j] = static_cast<float>(c.v_prediction ? row.signal * epsilon - row.sigma * z : epsilon);
      }
  }

  check::each_order([&] {
    Guarded<float> in(moments), out_target(count);
    Guarded<T> out(count);
    check::expect(noised_rows(nullptr, {c.batch, c.pixels, c.channels, in.data(), rows.data(), latent_scale, c.v_prediction,
                                        out.data(), check::any_type_of<T>, out_target.data()}) == 0,
                  "status");
    check::expect_bits(out, latents, "latents");
    check::expect_bits(out_target, target, "target");
  });
}

}  // namespace

int main() {
  for (const bool v : {false, true})
    for (const Case& c : {Case{1, 1, 1, 1, v}, Case{3, 2, 64, 4, v}, Case{2, 5, 77, 4, v}, Case{4, 3, 100, 3, v}}) {
      run<float>(c);
      run<dev::half>(c);
      run<dev::bf16>(c);
    }
  for (const std::int64_t batch : {64, 65, 130}) run<dev::half>({5, batch, 9, 4, false});  // more than a launch
  check::expect(noised_rows(nullptr, {}) == kInvalid, "nothing to do");
  return check::done();
}
