// Which pixels a convolution reads: the same few numbers describe the forward and, with the filter's taps in reverse, the
// gradient of its input.
//
// Of a strided convolution, the pixels of dx with y ≡ phase (mod stride) all meet the same taps, at whole steps of dy:
// y + pad − kh = stride · oy. They are computed together, one launch per pair of phases, so that no tap is multiplied in vain.
#pragma once

#include "conv2d.h"
#include "launch.h"

namespace cones::cuda {

/// One direction, y or x, of the pixels that a launch computes ("the grid") and of those it reads ("the source").
struct Axis {
  int grid;
  int out_step, out_first;       // pixel g of the grid is pixel g · out_step + out_first of the output
  int taps;                      // that these pixels meet, perhaps none
  int tap_step, tap_first;       // tap j of those is tap j · tap_step + tap_first of the filter
  int step, first, direction;    // pixel g meets, with tap j, pixel g · step + first + direction · j of the source
  int source;                    // pixels there are; others are zeros
};

inline Axis forward_axis(std::int64_t size, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  return {static_cast<int>(out), 1, 0, static_cast<int>(kernel), 1, 0, static_cast<int>(stride), -static_cast<int>(pad), 1,
          static_cast<int>(size)};
}
inline Axis backward_axis(std::int64_t size, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                          std::int64_t phase) {
  const std::int64_t tap = (phase + pad) % stride;
  return {static_cast<int>(phase < size ? divide_up(size - phase, stride) : 0),
          static_cast<int>(stride),
          static_cast<int>(phase),
          static_cast<int>(tap < kernel ? divide_up(kernel - tap, stride) : 0),
          static_cast<int>(stride),
          static_cast<int>(tap),
          1,
          static_cast<int>((phase + pad - tap) / stride),
          -1,
          static_cast<int>(out)};
}

/// A pixel of the grid: batch row, and where its window starts in the source.
struct Place {
  int batch, y, x;
};

struct Window {
  Axis y, x;
  int batch;
  int out_height, out_width;  // of the whole output, all phases
  int kernel_w;

  DEVICE int pixels() const { return batch * y.grid * x.grid; }
  DEVICE int taps() const { return y.taps * x.taps; }
  /// The window of pixel m of the grid, batch rows first.
  DEVICE Place place(int m) const {
    const int row = m / x.grid, b = row / y.grid;
    return {b, (row - b * y.grid) * y.step + y.first, (m - row * x.grid) * x.step + x.first};
  }
  /// Pixel of the source, counted through all batch rows, or −1 in the padding.
  DEVICE int source(const Place& p, int jy, int jx) const {
    const int sy = p.y + y.direction * jy, sx = p.x + x.direction * jx;
    if (sy < 0 || sy >= y.source || sx < 0 || sx >= x.source) return -1;
    return (p.batch * y.source + sy) * x.source + sx;
  }
  /// The filter's tap for tap (jy, jx) of the grid.
  DEVICE int tap(int jy, int jx) const {
    return (jy * y.tap_step + y.tap_first) * kernel_w + jx * x.tap_step + x.tap_first;
  }
  /// Pixel m of the grid as a pixel of the output, counted through all batch rows.
  DEVICE int out_pixel(int m) const {
    const int row = m / x.grid, b = row / y.grid;
    return (b * out_height + (row - b * y.grid) * y.out_step + y.out_first) * out_width + (m - row * x.grid) * x.out_step +
           x.out_first;
  }
};

/// The limits that conv2d.h states.
inline bool fits(const Conv2dShape& s) {
  constexpr std::int64_t kMost = 1 << 30;
  const std::int64_t taps = s.kernel_h * s.kernel_w, height = conv2d_out_height(s), width = conv2d_out_width(s);
  return height > 0 && width > 0 && s.batch * s.height * s.width < kMost && s.batch * height * width < kMost && taps * s.in < kMost &&
         taps * s.out < kMost;
}
/// Whether it is a product of matrices as they are.
inline bool is_linear(const Conv2dShape& s) {
  return s.kernel_h * s.kernel_w == 1 && s.stride == 1 && s.pad_top + s.pad_left + s.pad_bottom + s.pad_right == 0;
}
inline bool has_few_channels(const Conv2dShape& s) { return s.in <= kConv2dFewChannels || s.out <= kConv2dFewChannels; }

inline Window forward_window(const Conv2dShape& s) {
  const std::int64_t height = conv2d_out_height(s), width = conv2d_out_width(s);
  return {forward_axis(s.height, height, s.kernel_h, s.stride, s.pad_top),
          forward_axis(s.width, width, s.kernel_w, s.stride, s.pad_left),
          static_cast<int>(s.batch),
          static_cast<int>(height),
          static_cast<int>(width),
          static_cast<int>(s.kernel_w)};
}
inline Window backward_window(const Conv2dShape& s, std::int64_t phase_y, std::int64_t phase_x) {
  return {backward_axis(s.height, conv2d_out_height(s), s.kernel_h, s.stride, s.pad_top, phase_y),
          backward_axis(s.width, conv2d_out_width(s), s.kernel_w, s.stride, s.pad_left, phase_x),
          static_cast<int>(s.batch),
          static_cast<int>(s.height),
          static_cast<int>(s.width),
          static_cast<int>(s.kernel_w)};
}

}  // namespace cones::cuda
