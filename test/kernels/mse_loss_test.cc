// mse_loss against csrc/ops/mse_loss.cc's formula: gradients by all bits, sums within fp64's rounding, rows by themselves.
#include "mse_loss.h"

#include <limits>

#include "same_bits.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

struct Result {
  std::vector<double> means;
  double loss;
  int finite;
};

template <class T, class G>
void run(std::int64_t batch, std::int64_t size, bool want_gradient, float bad = 0) {
  check::now = std::to_string(batch) + " rows of " + std::to_string(size) + (want_gradient ? ", gradient" : "") +
               (bad == 0 ? "" : ", one value is " + std::to_string(bad));
  const auto rows = static_cast<std::size_t>(batch), width = static_cast<std::size_t>(size), count = rows * width;
  std::vector<T> output = check::normals<T>(count);
  std::vector<float> target = check::normals<float>(count);
  if (bad != 0) target[count - 1] = bad;
  std::vector<double> weights(rows);
  for (std::size_t b = 0; b < rows; ++b) weights[b] = 0.25 + 0.01 * static_cast<double>(b);
  const double scale = 1024;

  std::vector<float> gradient(count);
  std::vector<double> means(rows);
  double magnitude = 0;
  for (std::size_t b = 0; b < rows; ++b) {
    for (std::size_t i = b * width; i < (b + 1) * width; ++i) {
      const double difference = static_cast<double>(dev::to_float(output[i])) - static_cast<double>(target[i]);
      means[b] += difference * difference;
      gradient[i] = static_cast<float>(weights[b] * 2 * difference / static_cast<double>(size) * scale);
    }
    means[b] /= static_cast<double>(size);
    magnitude += weights[b] * means[b];
  }

  const auto call = [&](std::size_t first, std::size_t n, Guarded<G>* out) {
    Guarded<T> in(std::vector<T>(output.begin() + static_cast<std::ptrdiff_t>(first * width),
                                 output.begin() + static_cast<std::ptrdiff_t>((first + n) * width)));
    Guarded<float> wanted(std::vector<float>(target.begin() + static_cast<std::ptrdiff_t>(first * width),
                                             target.begin() + static_cast<std::ptrdiff_t>((first + n) * width)));
    const std::int64_t bytes = mse_loss_scratch(static_cast<std::int64_t>(n), size);
    check::expect(bytes % 8 == 0, "scratch");
    Guarded<double> scratch(static_cast<std::size_t>(bytes / 8)), mean(n), loss(1);
    Guarded<int> finite(1);
    check::expect(mse_loss(nullptr, {static_cast<std::int64_t>(n), size, in.data(), check::any_type_of<T>, wanted.data(),
                                     weights.data() + first, mean.data(), loss.data(), finite.data(),
                                     out ? out->data() : nullptr, check::any_type_of<G>, scale, scratch.data()}) == 0,
                  "status");
    check::expect(scratch.intact() && mean.intact() && loss.intact() && finite.intact(), "wrote outside");
    Result result{{}, loss[0], finite[0]};
    for (std::size_t b = 0; b < n; ++b) result.means.push_back(mean[b]);
    return result;
  };

  check::each_order([&] {
    Guarded<G> out(count);
    const Result all = call(0, rows, want_gradient ? &out : nullptr);
    if (want_gradient && bad == 0) check::expect_bits(out, gradient, "gradient");
    double loss = 0;
    for (std::size_t b = 0; b < rows; ++b) {
      const bool spoilt = bad != 0 && b == rows - 1;
      if (!spoilt) check::expect(std::fabs(all.means[b] - means[b]) <= 1e-13 * means[b], "mean " + std::to_string(b));
      loss += weights[b] * all.means[b];
    }
    if (bad == 0) {
      check::expect(all.loss == loss && std::fabs(loss - magnitude) <= 1e-12 * magnitude, "loss");
      check::expect(all.finite == 1, "finite");
    } else {
      check::expect(!std::isfinite(all.loss) && all.finite == 0, "not finite");
    }
    for (const std::size_t b : {std::size_t{0}, rows / 2})  // whatever the neighbours
      check::expect(call(b, 1, nullptr).means[0] == all.means[b] || (bad != 0 && b == rows - 1), "a row alone");
  });
}

template <class T, class G>
void sizes() {
  for (const std::int64_t size : {1, 100, 257, 4096, 4097, 9001})
    for (const std::int64_t batch : {1, 3}) run<T, G>(batch, size, true);
}

}  // namespace

int main() {
  sizes<float, dev::half>();
  sizes<float, dev::bf16>();
  sizes<float, float>();
  sizes<dev::half, dev::half>();
  sizes<dev::bf16, float>();
  for (const std::int64_t batch : {64, 65, 130}) run<float, dev::half>(batch, 40, true);  // more than a launch
  run<float, dev::half>(2, 4096 * 40 + 3, false);                                         // more chunks than lanes
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    run<float, dev::half>(3, 500, true, bad);
    run<float, dev::half>(66, 5, true, bad);
  }
  check::expect(mse_loss(nullptr, {}) == kInvalid, "nothing to do");
  return check::done();
}
