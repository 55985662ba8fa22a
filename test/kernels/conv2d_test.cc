// cuda/conv2d.h against the definition of a convolution in double precision, under the emulator.
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "conv2d.h"
#include "ptx.cuh"

using namespace cones::cuda;

namespace {

std::mt19937 generator(1);
int failures = 0;

template <class T>
std::vector<T> random_values(std::int64_t count, float scale = 1) {
  std::normal_distribution<float> normal;
  std::vector<T> v(static_cast<std::size_t>(count));
  for (T& e : v) e = dev::from_float<T>(normal(generator) * scale);
  return v;
}

// Values by which 16-bit operands stand beside their natural alignment.
int shift = 0;

template <class T>
struct Input {
  std::vector<T> memory;
  explicit Input(const std::vector<T>& v) : memory(static_cast<std::size_t>(shift)) { memory.insert(memory.end(), v.begin(), v.end()); }
  const T* data() const { return memory.data() + shift; }
};

// Poisoned memory for an output, with guards before and behind.
template <class T>
struct Output {
  static constexpr std::int64_t kGuard = 64;
  std::vector<T> memory;
  int moved;
  explicit Output(std::int64_t count, int moved_ = 0)
      : memory(static_cast<std::size_t>(count + moved_ + 2 * kGuard), dev::from_float<T>(NAN)), moved(moved_) {}
  T* data() { return memory.data() + kGuard + moved; }
  std::int64_t size() const { return static_cast<std::int64_t>(memory.size()) - 2 * kGuard - moved; }
  bool guards_hold() const {
    for (std::int64_t i = 0; i < kGuard; ++i)
      if (!std::isnan(dev::to_float(memory[static_cast<std::size_t>(i)])) ||
          !std::isnan(dev::to_float(memory[memory.size() - 1 - static_cast<std::size_t>(i)])))
        return false;
    return true;
  }
};

// What is wanted, with the sum of the absolute values of all terms and their number.
struct Wanted {
  std::vector<double> value, size;
  double terms;
};
template <class T>
constexpr double kUnit = 0x1p-24;
template <>
constexpr double kUnit<dev::half> = 0x1p-11;
template <>
constexpr double kUnit<dev::bf16> = 0x1p-8;

template <class T>
void compare(const char* what, const Wanted& want, Output<T>& got) {
  double worst = 0;
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double w = want.value[static_cast<std::size_t>(i)];
    const double bound = kUnit<T> * std::abs(w) + 4 * std::sqrt(want.terms) * 0x1p-24 * want.size[static_cast<std::size_t>(i)] +
                         0x1p-24;  // half's smallest number
    const double error = std::abs(dev::to_float(got.data()[i]) - w) / bound;
    if (!(error <= worst)) worst = error, at = i;
    if (std::isnan(error)) break;
  }
  if (worst <= 1 && got.guards_hold()) return;
  ++failures;
  std::printf("%s: %g of the bound at %lld of %lld (want %g, got %g)%s\n", what, worst, static_cast<long long>(at),
              static_cast<long long>(got.size()), want.value[static_cast<std::size_t>(at)], dev::to_float(got.data()[at]),
              got.guards_hold() ? "" : ", guard overwritten");
}

// Calls f(output element's batch row and pixel, tap, element of x's pixels) for every pair of pixels that meets.
template <class F>
void for_pairs(const Conv2dShape& s, const F& f) {
  const std::int64_t height = conv2d_out_height(s), width = conv2d_out_width(s);
  for (std::int64_t b = 0; b < s.batch; ++b)
    for (std::int64_t oy = 0; oy < height; ++oy)
      for (std::int64_t ox = 0; ox < width; ++ox)
        for (std::int64_t t = 0; t < s.kernel_h * s.kernel_w; ++t) {
          const std::int64_t y = oy * s.stride + t / s.kernel_w - s.pad_top, x = ox * s.stride + t % s.kernel_w - s.pad_left;
          if (y >= 0 && y < s.height && x >= 0 && x < s.width)
            f((b * height + oy) * width + ox, t, (b * s.height + y) * s.width + x);
        }
}

std::vector<double> doubles(const auto& v) {
  std::vector<double> d;
  for (const auto& e : v) d.push_back(dev::to_float(e));
  return d;
}

struct Sides {
  std::int64_t x, y, taps;
};
Sides sides(const Conv2dShape& s) {
  return {s.batch * s.height * s.width, s.batch * conv2d_out_height(s) * conv2d_out_width(s), s.kernel_h * s.kernel_w};
}

// sums[a · columns + b] += u · v
void add(Wanted& w, std::int64_t at, double u, double v) {
  w.value[static_cast<std::size_t>(at)] += u * v;
  w.size[static_cast<std::size_t>(at)] += std::abs(u * v);
}
Wanted wanted(std::int64_t count, std::int64_t terms) {
  const std::vector<double> zeros(static_cast<std::size_t>(count));
  return {zeros, zeros, static_cast<double>(terms)};
}

template <class T>
std::vector<T> pack(Type type, const Conv2dShape& s, const std::vector<float>& file) {
  const Sides n = sides(s);
  Output<T> packed(s.out * n.taps * s.in);
  if (conv2d_pack(nullptr, {s.out, s.in, n.taps, Type::f32, file.data(), type, packed.data()}) != 0) ++failures;
  Wanted want = wanted(packed.size(), 1);
  for (std::int64_t o = 0; o < s.out; ++o)
    for (std::int64_t t = 0; t < n.taps; ++t)
      for (std::int64_t i = 0; i < s.in; ++i)
        add(want, (o * n.taps + t) * s.in + i, file[static_cast<std::size_t>((o * s.in + i) * n.taps + t)], 1);
  compare("pack", want, packed);
  return {packed.data(), packed.data() + packed.size()};
}

template <class T, class X, class Y>
void forward(const char* what, Type type, Type x_type, Type y_type, const Conv2dShape& s, const std::vector<T>& weight, bool extras) {
  const Sides n = sides(s);
  const auto x = random_values<X>(n.x * s.in);
  const auto bias = random_values<float>(s.out);
  const auto residual = random_values<T>(n.y * s.out), group = random_values<T>(s.batch * s.out);
  Wanted want = wanted(n.y * s.out, n.taps * s.in + 3);
  const auto xd = doubles(x), wd = doubles(weight), rd = doubles(residual), gd = doubles(group);
  for_pairs(s, [&](std::int64_t q, std::int64_t t, std::int64_t p) {
    for (std::int64_t o = 0; o < s.out; ++o)
      for (std::int64_t i = 0; i < s.in; ++i)
        add(want, q * s.out + o, xd[static_cast<std::size_t>(p * s.in + i)], wd[static_cast<std::size_t>((o * n.taps + t) * s.in + i)]);
  });
  if (extras)
    for (std::int64_t e = 0; e < n.y * s.out; ++e) {
      add(want, e, bias[static_cast<std::size_t>(e % s.out)], 1);
      add(want, e, rd[static_cast<std::size_t>(e)], 1);
      add(want, e, gd[static_cast<std::size_t>(e / s.out / (n.y / s.batch) * s.out + e % s.out)], 1);
    }
  const Input<X> xs(x);
  const Input<T> rs(residual), gs(group);
  Output<Y> y(n.y * s.out, shift);
  Output<float> scratch(conv2d_forward_scratch(s));
  const int status = conv2d_forward(nullptr, {type, x_type, y_type, s, xs.data(), weight.data(), extras ? bias.data() : nullptr,
                                              extras ? rs.data() : nullptr, extras ? gs.data() : nullptr, y.data(), scratch.data()});
  if (status != 0) ++failures, std::printf("%s forward: status %d\n", what, status);
  compare(what, want, y);
  if (!scratch.guards_hold()) ++failures, std::printf("%s: scratch overrun\n", what);

  if (s.batch == 1) return;
  // The last batch row alone has the same bits.
  Conv2dShape one = s;
  one.batch = 1;
  const std::int64_t last = s.batch - 1, px = n.x / s.batch, py = n.y / s.batch;
  Output<Y> row(py * s.out, shift);
  conv2d_forward(nullptr, {type, x_type, y_type, one, xs.data() + last * px * s.in, weight.data(), extras ? bias.data() : nullptr,
                           extras ? rs.data() + last * py * s.out : nullptr, extras ? gs.data() + last * s.out : nullptr,
                           row.data(), scratch.data()});
  if (std::memcmp(row.data(), y.data() + last * py * s.out, sizeof(Y) * static_cast<std::size_t>(py * s.out)) != 0)
    ++failures, std::printf("%s: a batch row depends on the others\n", what);
}

template <class T>
void backward_input(const char* what, Type type, const Conv2dShape& s, const std::vector<T>& weight) {
  const Sides n = sides(s);
  const auto dy = random_values<T>(n.y * s.out);
  Wanted want = wanted(n.x * s.in, n.taps * s.out);
  const auto dd = doubles(dy), wd = doubles(weight);
  for_pairs(s, [&](std::int64_t q, std::int64_t t, std::int64_t p) {
    for (std::int64_t o = 0; o < s.out; ++o)
      for (std::int64_t i = 0; i < s.in; ++i)
        add(want, p * s.in + i, dd[static_cast<std::size_t>(q * s.out + o)], wd[static_cast<std::size_t>((o * n.taps + t) * s.in + i)]);
  });
  const Input<T> dys(dy);
  Output<T> dx(n.x * s.in, shift);
  Output<float> scratch(conv2d_backward_input_scratch(s));
  const int status = conv2d_backward_input(nullptr, {type, s, dys.data(), weight.data(), dx.data(), scratch.data()});
  if (status != 0) ++failures, std::printf("%s backward_input: status %d\n", what, status);
  compare(what, want, dx);
  if (!scratch.guards_hold()) ++failures, std::printf("%s: scratch overrun\n", what);
}

template <class T>
void backward_weight(const char* what, Type type, const Conv2dShape& s) {
  const Sides n = sides(s);
  const auto dy = random_values<T>(n.y * s.out), x = random_values<T>(n.x * s.in);
  Wanted want = wanted(s.out * s.in * n.taps, n.y);
  const auto dd = doubles(dy), xd = doubles(x);
  for_pairs(s, [&](std::int64_t q, std::int64_t t, std::int64_t p) {
    for (std::int64_t o = 0; o < s.out; ++o)
      for (std::int64_t i = 0; i < s.in; ++i)
        add(want, (o * s.in + i) * n.taps + t, dd[static_cast<std::size_t>(q * s.out + o)] * 0.125, xd[static_cast<std::size_t>(p * s.in + i)]);
  });
  Output<float> dw(want.value.size()), scratch(conv2d_backward_weight_scratch(s));
  const Input<T> dys(dy), xs(x);
  const int status = conv2d_backward_weight(nullptr, {type, s, dys.data(), xs.data(), 0.125f, scratch.data(), dw.data()});
  if (status != 0) ++failures, std::printf("%s backward_weight: status %d\n", what, status);
  compare(what, want, dw);
  if (!scratch.guards_hold()) ++failures, std::printf("%s: scratch overrun\n", what);
}

enum Directions { kForward = 1, kBackwardInput = 2, kBackwardWeight = 4, kAll = 7 };

template <class T>
void check(const char* type_name, Type type, const Conv2dShape& s, int directions) {
  const auto name = [&](const char* direction) {
    char text[160];
    std::snprintf(text, sizeof text, "%s %s, %dx%dx%d, %d -> %d, kernel %dx%d, stride %d, pads %d %d %d %d", direction, type_name,
                  int(s.batch), int(s.height), int(s.width), int(s.in), int(s.out), int(s.kernel_h), int(s.kernel_w), int(s.stride),
                  int(s.pad_top), int(s.pad_left), int(s.pad_bottom), int(s.pad_right));
    return std::string(text);
  };
  const std::int64_t taps = s.kernel_h * s.kernel_w;
  const auto weight = pack<T>(type, s, random_values<float>(s.out * s.in * taps, 1 / std::sqrt(static_cast<float>(s.in * taps))));
  if (directions & kForward) {
    forward<T, T, T>(name("forward").c_str(), type, type, type, s, weight, true);
    forward<T, T, float>(name("forward to f32").c_str(), type, type, Type::f32, s, weight, false);
    if (s.in <= kConv2dFewChannels) forward<T, float, T>(name("forward from f32").c_str(), type, Type::f32, type, s, weight, true);
  }
  if (directions & kBackwardInput) backward_input<T>(name("backward_input").c_str(), type, s, weight);
  if (directions & kBackwardWeight) backward_weight<T>(name("backward_weight").c_str(), type, s);
}

}  // namespace

int main() {
  const Conv2dShape shapes[] = {
      // few channels on either side
      {.batch = 2, .height = 5, .width = 7, .in = 4, .out = 70, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 9, .width = 20, .in = 3, .out = 33, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_bottom = 1, .pad_right = 1},
      {.batch = 1, .height = 4, .width = 5, .in = 9, .out = 40, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 5, .width = 7, .in = 72, .out = 4, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 1, .height = 9, .width = 20, .in = 35, .out = 3, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 3, .height = 3, .width = 3, .in = 64, .out = 8, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 3, .width = 5, .in = 8, .out = 8},
      // many: ragged pictures, strides, paddings, kernels
      {.batch = 2, .height = 5, .width = 7, .in = 32, .out = 24, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 1, .height = 9, .width = 20, .in = 40, .out = 72, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 3, .height = 1, .width = 1, .in = 96, .out = 64, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 9, .width = 20, .in = 32, .out = 32, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 8, .width = 7, .in = 24, .out = 40, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 2, .height = 5, .width = 7, .in = 96, .out = 80},
      {.batch = 1, .height = 6, .width = 5, .in = 24, .out = 24, .stride = 2},
      {.batch = 2, .height = 5, .width = 4, .in = 19, .out = 21, .kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
      {.batch = 1, .height = 6, .width = 5, .in = 18, .out = 17, .kernel_h = 2, .kernel_w = 3, .stride = 2, .pad_left = 1, .pad_bottom = 1},
      {.batch = 2, .height = 5, .width = 7, .in = 17, .out = 22},
      // a sum over pixels long enough to be split
      {.batch = 1, .height = 33, .width = 34, .in = 24, .out = 24, .kernel_h = 1, .kernel_w = 3, .pad_left = 1, .pad_right = 1},
  };
  // enough of one picture for large tiles
  const Conv2dShape large{.batch = 1, .height = 91, .width = 90, .in = 24, .out = 24, .kernel_w = 2, .pad_right = 1};
  const Conv2dShape narrow{.batch = 1, .height = 91, .width = 90, .in = 80, .out = 80, .stride = 1, .pad_bottom = 1};
  const Conv2dShape large_weight{.batch = 1, .height = 3, .width = 5, .in = 1920, .out = 1040};
  for (const bool lazy : {true, false}) {
    dev::lazy_copies = lazy;
    dev::order_seed = lazy ? 7 : 11;
    dev::descending_blocks = !lazy;
    for (const Conv2dShape& s : shapes) {
      check<dev::half>("f16", Type::f16, s, kAll);
      check<dev::bf16>("bf16", Type::bf16, s, kAll);
      if (failures != 0) return 1;
    }
    if (!lazy) continue;
    shift = 1;
    for (const int i : {0, 3, 7, 10, 12}) check<dev::half>("unaligned f16", Type::f16, shapes[i], kAll);
    shift = 0;
    check<dev::half>("f16", Type::f16, large, kForward | kBackwardInput);
    check<dev::half>("f16", Type::f16, narrow, kForward | kBackwardInput);
    check<dev::half>("f16", Type::f16, large_weight, kBackwardWeight);
  }
  std::printf(failures ? "%d failures\n" : "all right\n", failures);
  return failures != 0;
}
