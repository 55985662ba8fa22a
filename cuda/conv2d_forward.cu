#include "conv2d.h"

#include "conv2d_few.cuh"
#include "conv2d_loaders.cuh"
#include "conv2d_product.cuh"
#include "linear.h"

namespace cones::cuda {
namespace {

template <class T, class X>
FewArgs<T, X> few_args(const Conv2dForwardArgs& args, const ConvOutput<T>& out) {
  const Conv2dShape& s = args.shape;
  return {forward_window(s),
          static_cast<const X*>(args.x),
          static_cast<int>(s.in),
          {static_cast<const T*>(args.weight), 1, s.kernel_h * s.kernel_w * s.in, s.in},
          out};
}

template <class T>
int forward(Stream* stream, const Conv2dForwardArgs& args) {
  const Conv2dShape& s = args.shape;
  const ConvOutput<T> out(s.out, args.bias, args.residual, args.group_bias, args.y, args.y_type == Type::f32);
  if (s.in <= kConv2dFewChannels) {
    if (args.x_type == Type::f32) return convolve_few_inputs(stream, few_args<T, float>(args, out));
    return convolve_few_inputs(stream, few_args<T, T>(args, out));
  }
  if (s.out <= kConv2dFewChannels) return convolve_few_outputs(stream, few_args<T, T>(args, out));

  const std::int64_t depth = s.kernel_h * s.kernel_w * s.in;
  const Window window = forward_window(s);
  const Gather<T, false> a{window, static_cast<const T*>(args.x), static_cast<int>(s.in),
                           s.batch * conv2d_out_height(s) * conv2d_out_width(s)};
  const RowMajor<T> b{static_cast<const T*>(args.weight), s.out, static_cast<int>(depth), depth};
  const bool is_aligned = s.in % 8 == 0 && all_aligned(16, args.x, args.weight);
  return convolve_product(stream, is_aligned, a, b, ConvSums<T>{window, out, nullptr, 1, 0}, b.depth, args.scratch);
}

}  // namespace

std::int64_t conv2d_forward_scratch(const Conv2dShape& s) {
  if (has_few_channels(s)) return 0;
  const std::int64_t pixels = conv2d_out_height(s) * conv2d_out_width(s);
  // Enough for the scalar path too, whose tiles are always small.
  return conv_plan_scratch(conv_plan(pixels, s.out, s.kernel_h * s.kernel_w * s.in, false), s.batch * pixels, s.out);
}

int conv2d_forward(Stream* stream, const Conv2dForwardArgs& args) {
  const Conv2dShape& s = args.shape;
  if (!fits(s)) return kInvalid;
  if (args.y_type != args.type && args.y_type != Type::f32) return kInvalid;
  if (args.x_type != args.type && (args.x_type != Type::f32 || s.in > kConv2dFewChannels)) return kInvalid;
  if (is_linear(s) && !has_few_channels(s) && args.group_bias == nullptr && all_aligned(8, args.residual, args.y))
    return linear_forward(stream, {args.type, s.batch * s.height * s.width, s.out, s.in, args.x, args.weight, args.bias,
                                   args.residual, args.y, args.y_type});
  return with_type(args.type, [&](auto t) { return forward<decltype(t)>(stream, args); });
}

}  // namespace cones::cuda
