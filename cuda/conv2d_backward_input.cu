#include "conv2d.h"

#include "conv2d_few.cuh"
#include "conv2d_loaders.cuh"
#include "conv2d_product.cuh"
#include "linear.h"

namespace cones::cuda {
namespace {

/// The pixels of dx of one pair of phases.
template <class T>
int backward_phase(Stream* stream, const Conv2dBackwardInputArgs& args, const Window& window) {
  const Conv2dShape& s = args.shape;
  const T *const dy = static_cast<const T*>(args.dy), *const weight = static_cast<const T*>(args.weight);
  const std::int64_t taps = s.kernel_h * s.kernel_w;
  const ConvOutput<T> out(s.in, nullptr, nullptr, nullptr, args.dx, false);
  if (has_few_channels(s)) {
    const FewArgs<T, T> few{window, dy, static_cast<int>(s.out), {weight, taps * s.in, 1, s.in}, out};
    return s.out <= kConv2dFewChannels ? convolve_few_inputs(stream, few) : convolve_few_outputs(stream, few);
  }
  const Gather<T, false> a{window, dy, static_cast<int>(s.out), s.batch * window.y.grid * window.x.grid};
  const ReversedFilter<T> b{window, weight, static_cast<int>(s.out), static_cast<int>(taps), s.in};
  const bool is_aligned = s.out % 8 == 0 && s.in % 8 == 0 && all_aligned(16, dy, weight);
  const int depth = window.y.taps * window.x.taps * static_cast<int>(s.out);
  return convolve_product(stream, is_aligned, a, b, ConvSums<T>{window, out, nullptr, 1, 0}, depth, args.scratch);
}

/// Calls f(window) for every pair of phases that has pixels, until one returns an error.
template <class F>
int each_phase(const Conv2dShape& s, const F& f) {
  for (std::int64_t y = 0; y < s.stride && y < s.height; ++y)
    for (std::int64_t x = 0; x < s.stride && x < s.width; ++x)
      if (const int status = f(backward_window(s, y, x))) return status;
  return 0;
}

}  // namespace

std::int64_t conv2d_backward_input_scratch(const Conv2dShape& s) {
  std::int64_t most = 0;
  if (has_few_channels(s)) return most;
  each_phase(s, [&](const Window& w) {
    const std::int64_t pixels = std::int64_t{w.y.grid} * w.x.grid, depth = std::int64_t{w.y.taps} * w.x.taps * s.out;
    const std::int64_t size = conv_plan_scratch(conv_plan(pixels, s.in, depth, false), s.batch * pixels, s.in);
    if (size > most) most = size;
    return 0;
  });
  return most;
}

int conv2d_backward_input(Stream* stream, const Conv2dBackwardInputArgs& args) {
  const Conv2dShape& s = args.shape;
  if (!fits(s)) return kInvalid;
  if (is_linear(s) && !has_few_channels(s) && all_aligned(8, args.dx))
    return linear_backward_input(stream, {args.type, s.batch * s.height * s.width, s.out, s.in, args.dy, args.weight, nullptr, args.dx});
  return with_type(args.type, [&](auto t) {
    return each_phase(s, [&](const Window& window) { return backward_phase<decltype(t)>(stream, args, window); });
  });
}

}  // namespace cones::cuda
