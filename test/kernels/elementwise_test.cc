// add, affine, cast, scale_to and keep_known, bit by bit, in the emulator.
#include "add.cu"
#include "affine.cu"
#include "cast.cu"
#include "keep_known.cu"
#include "same_bits.h"
#include "scale_to.cu"

namespace {

using namespace cones::cuda;
using check::Guarded;

constexpr std::size_t kSizes[] = {1, 8, 15, 2048, 4099};

template <class T>
void add(std::size_t n, std::size_t off) {
  Guarded<T> a(check::normals<T>(n), off), b(check::normals<T>(n), off);
  std::vector<float> want(n), twice(n);
  for (std::size_t i = 0; i < n; ++i) want[i] = dev::to_float(a[i]) + dev::to_float(b[i]), twice[i] = 2 * dev::to_float(b[i]);
  const auto count = static_cast<std::int64_t>(n);
  check::each_order([&] {
    Guarded<T> y(n, off), onto_a(std::vector<T>(a.data(), a.data() + n), off), onto_b(std::vector<T>(b.data(), b.data() + n), off);
    check::expect(add_forward(nullptr, {check::type_of<T>, count, a.data(), b.data(), y.data()}) == 0, "rc");
    check::expect_bits(y, want, "a + b");
    add_forward(nullptr, {check::type_of<T>, count, onto_a.data(), b.data(), onto_a.data()});
    check::expect_bits(onto_a, want, "a += b");
    add_forward(nullptr, {check::type_of<T>, count, a.data(), onto_b.data(), onto_b.data()});
    check::expect_bits(onto_b, want, "b += a");
    Guarded<T> both(std::vector<T>(b.data(), b.data() + n), off);
    add_forward(nullptr, {check::type_of<T>, count, both.data(), both.data(), both.data()});
    check::expect_bits(both, twice, "b += b");
  });
}

template <class T>
void affine(std::size_t n, std::size_t off) {
  Guarded<T> x(check::normals<T>(n), off);
  std::vector<float> want(n);
  for (std::size_t i = 0; i < n; ++i) want[i] = std::fma(2.3f, dev::to_float(x[i]), -0.7f);
  check::each_order([&] {
    Guarded<T> y(n, off);
    check::expect(affine_forward(nullptr, {check::type_of<T>, static_cast<std::int64_t>(n), 2.3f, -0.7f, x.data(), y.data()}) == 0, "rc");
    check::expect_bits(y, want, "affine");
  });
}

void known(std::int64_t positions, std::int64_t channels) {
  const auto n = static_cast<std::size_t>(positions * channels);
  Guarded<float> x(check::normals<float>(n)), image(check::normals<float>(n)), noise(check::normals<float>(n));
  Guarded<float> mask(check::normals<float>(static_cast<std::size_t>(positions)));
  std::vector<float> want(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double free = mask[i / static_cast<std::size_t>(channels)], kept = 0.83 * double{image[i]} + 0.41 * double{noise[i]};
    want[i] = static_cast<float>(free * double{x[i]} + (1 - free) * kept);
  }
  check::each_order([&] {
    Guarded<float> y(n), onto(std::vector<float>(x.data(), x.data() + n));
    const KeepKnownArgs args{static_cast<std::int64_t>(n), channels, x.data(), image.data(), noise.data(), mask.data(), 0.83, 0.41, y.data()};
    check::expect(keep_known(nullptr, args) == 0, "rc");
    check::expect_bits(y, want, "known");
    KeepKnownArgs in_place = args;
    in_place.x = in_place.y = onto.data();
    keep_known(nullptr, in_place);
    check::expect_bits(onto, want, "in place");
  });
}

template <class From, class To>
void cast_one(std::size_t n, std::size_t off) {
  Guarded<From> x(check::normals<From>(n, 100), off);
  for (const float factor : {1.0f, 0x1p-10f, 1.7f}) {
    std::vector<float> want(n);
    for (std::size_t i = 0; i < n; ++i) want[i] = factor * dev::to_float(x[i]);
    check::each_order([&] {
      Guarded<To> y(n, off);
      const int rc = cast(nullptr, {check::any_type_of<From>, check::any_type_of<To>, static_cast<std::int64_t>(n), factor,
                                    x.data(), y.data()});
      check::expect(rc == 0, "rc");
      check::expect_bits(y, want, "cast");
    });
  }
}
template <class From>
void cast_from(std::size_t n, std::size_t off) {
  cast_one<From, float>(n, off);
  cast_one<From, dev::half>(n, off);
  cast_one<From, dev::bf16>(n, off);
}

/// v rounded once, by looking at both neighbours.
template <class T>
float round_once(double v) {
  float best = dev::to_float(dev::from_float<T>(static_cast<float>(v)));
  for (const int step : {-1, 1}) {
    T other = dev::from_float<T>(static_cast<float>(v));
    other.bits = static_cast<std::uint16_t>(other.bits + step);
    const double mine = std::fabs(best - v), its = std::fabs(dev::to_float(other) - v);
    if (its < mine || (its == mine && !(other.bits & 1))) best = dev::to_float(other);
  }
  return best;
}
template <>
float round_once<float>(double v) {
  return static_cast<float>(v);
}

template <class T>
void scale_values(const std::vector<float>& values, double factor, int copies, std::size_t off) {
  const std::size_t n = values.size();
  Guarded<float> x(values, off);
  std::vector<float> want;
  for (int k = 0; k < copies; ++k)
    for (std::size_t i = 0; i < n; ++i) want.push_back(round_once<T>(factor * static_cast<double>(values[i])));
  check::each_order([&] {
    Guarded<T> y(n * static_cast<std::size_t>(copies), off);
    const int rc = scale_to(nullptr, {check::any_type_of<T>, static_cast<std::int64_t>(n), copies, factor, x.data(), y.data()});
    check::expect(rc == 0, "rc");
    check::expect_bits(y, want, "scale_to");
  });
}

template <class T>
void scale_to_one(std::size_t n, int copies, std::size_t off) {
  std::vector<float> values = check::normals<float>(n);
  // Products just beside a tie between two 16-bit values: rounded to fp32 first they would be the tie, and go to the even side.
  if constexpr (sizeof(T) == 2)
    for (std::size_t i = 0; i < n; i += 2) {
      T low = dev::from_float<T>(values[i]), high = low;
      ++high.bits;
      values[i] = (dev::to_float(low) + dev::to_float(high)) / 2;
    }
  for (const double factor : {1 + 0x1p-40, 1 - 0x1p-40, 1.0 / 3}) scale_values<T>(values, factor, copies, off);
}

template <class T>
void extremes() {
  const float values[] = {0.0f, -0.0f, 1e38f, -1e38f, INFINITY, 65520.0f, 65519.996f, 3.39e38f, 1e-45f, -1e-40f, 0x1.004p-15f, 0x1p-25f};
  Guarded<float> x(std::vector<float>(std::begin(values), std::end(values)));
  Guarded<T> y(std::size(values));
  scale_to(nullptr, {check::any_type_of<T>, std::size(values), 1, 1.0, x.data(), y.data()});
  check::expect_bits(y, std::vector<float>(std::begin(values), std::end(values)), "extremes");
  const float small[] = {1e-40f, 2e-45f};  // their products are fp64 numbers below fp32's least
  Guarded<float> s(std::vector<float>(std::begin(small), std::end(small)));
  Guarded<T> zero(2);
  scale_to(nullptr, {check::any_type_of<T>, 2, 1, 1e-30, s.data(), zero.data()});
  check::expect_bits(zero, {0, 0}, "tiny");
}

template <class T>
void all(std::size_t n, std::size_t off) {
  check::now = std::to_string(n) + " + " + std::to_string(off);
  add<T>(n, off);
  affine<T>(n, off);
  cast_from<T>(n, off);
}

}  // namespace

int main() {
  check::now = "more than the grid covers at once";
  add<dev::half>(2048 * 256 + 7, 1);
  for (const std::size_t n : kSizes)
    for (const std::size_t off : {0, 1}) {
      if (off == 1 && n > 100) continue;
      all<dev::half>(n, off);
      all<dev::bf16>(n, off);
      cast_from<float>(n, off);
      scale_to_one<dev::half>(n, 1, off);
      scale_to_one<dev::bf16>(n, 2, off);
      scale_to_one<dev::half>(n, 3, off);
      scale_to_one<float>(n, 2, off);
    }
  for (const std::int64_t positions : {1, 35, 200000}) {
    check::now = "known of " + std::to_string(positions);
    known(positions, 4);
  }
  known(7, 3);
  check::expect(keep_known(nullptr, {7, 4, nullptr, nullptr, nullptr, nullptr, 1, 0, nullptr}) == kInvalid, "part of a position");
  check::now = "extremes";
  extremes<dev::half>();
  extremes<dev::bf16>();
  extremes<float>();
  check::expect(add_forward(nullptr, {Type::f32, 1, nullptr, nullptr, nullptr}) == kInvalid, "fp32");
  check::expect(cast(nullptr, {Type::f32, Type::f16, 0, 1, nullptr, nullptr}) == kInvalid, "empty");
  return check::done();
}
