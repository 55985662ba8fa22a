// Operands of convolutions as products (product.cuh): pixels gathered through the filter's window, and filters by either side.
#pragma once

#include "conv2d_window.cuh"
#include "matrix.cuh"

namespace cones::cuda {

/// The matrix [pixels of the grid, taps · channels] that a convolution multiplies, never written anywhere: its element is the
/// source's at the pixel that a tap of the window meets. kPixelsAcross: pixels are k (the weights' gradient), else rows of A.
/// Eight neighbouring channels lie in one pixel when `channels` is a multiple of 8.
template <class T, bool kPixelsAcross>
struct Gather {
  using Value = T;
  static constexpr bool kAcross = kPixelsAcross, kMasked = false;
  Window window;
  const T* source;  // [pixels, channels]
  int channels;
  std::int64_t rows;  // of A: pixels of the grid; or columns of B: taps · channels

  struct Tap {
    int y, x, channel;
  };
  DEVICE Place pixel(std::int64_t m) const {
    return m < window.pixels() ? window.place(static_cast<int>(m)) : Place{0, 0, -kNowhere};
  }
  DEVICE Tap tap(int k) const {
    const int j = k / channels, y = j / window.x.taps;
    return j < window.taps() ? Tap{y, j - y * window.x.taps, k - j * channels} : Tap{kNowhere, 0, 0};
  }
  DEVICE const T* at(const Place& p, const Tap& t) const {
    const int pixel = window.source(p, t.y, t.x);
    return pixel < 0 ? nullptr : source + static_cast<std::int64_t>(pixel) * channels + t.channel;
  }
  DEVICE const T* at(const Tap& t, const Place& p) const { return at(p, t); }

  using Row = std::conditional_t<kAcross, Tap, Place>;
  using Column = std::conditional_t<kAcross, Place, Tap>;
  DEVICE Row row(std::int64_t m) const {
    if constexpr (kAcross) return tap(static_cast<int>(m));
    else return pixel(m);
  }
  DEVICE Column column(int k) const {
    if constexpr (kAcross) return pixel(k);
    else return tap(k);
  }

 private:
  static constexpr int kNowhere = 1 << 30;  // further than any picture is large: there is padding
};

/// B(n, k) for the gradient of the input: n an input, k = (tap of the grid, output), out of the forward's [O, taps, I].
template <class T>
struct ReversedFilter {
  using Value = T;
  static constexpr bool kAcross = true, kMasked = false;
  Window window;
  const T* weight;
  int outputs, taps;  // taps of the whole filter
  std::int64_t rows;  // inputs

  struct Row {
    const T* start;
  };
  using Column = std::int64_t;  // offset, or −1 past the end
  DEVICE Row row(std::int64_t n) const { return {n < rows ? weight + n : nullptr}; }
  DEVICE Column column(int k) const {
    const int j = k / outputs, y = j / window.x.taps, o = k - j * outputs;
    if (j >= window.taps()) return -1;
    return (static_cast<std::int64_t>(o) * taps + window.tap(y, j - y * window.x.taps)) * rows;
  }
  DEVICE const T* at(const Row& r, Column offset) const { return r.start != nullptr && offset >= 0 ? r.start + offset : nullptr; }
};

}  // namespace cones::cuda
