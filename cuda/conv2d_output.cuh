// Where a convolution's sums go: + bias + group bias + residual, rounded once.
#pragma once

#include "launch.h"

namespace cones::cuda {

/// Whether all of `pointers` are null or aligned to `bytes`.
template <class... P>
bool all_aligned(std::size_t bytes, const P*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % bytes == 0) && ...);
}

template <class T>
struct ConvOutput {
  int channels;
  const float* bias;    // [channels], or null
  const T* residual;    // shaped like y, or null
  const T* group_bias;  // [B, channels], or null
  void* y;              // T or float [pixels, channels]
  bool f32;
  int together;  // channels that are aligned and may be read and written as one: 8, 2 or 1

  ConvOutput(std::int64_t channels_, const float* bias_, const void* residual_, const void* group_bias_, void* y_, bool f32_)
      : channels(static_cast<int>(channels_)),
        bias(bias_),
        residual(static_cast<const T*>(residual_)),
        group_bias(static_cast<const T*>(group_bias_)),
        y(y_),
        f32(f32_),
        together(f32                                                                    ? 1
                 : channels % 8 == 0 && all_aligned(16, residual_, group_bias_, y_) ? 8
                 : channels % 2 == 0 && all_aligned(4, residual_, group_bias_, y_)  ? 2
                                                                                        : 1) {}

  DEVICE void store(float sum, std::int64_t pixel, int batch, int n) const {
    const std::int64_t at = pixel * channels + n;
    if (bias) sum += bias[n];
    if (group_bias) sum += dev::to_float(group_bias[static_cast<std::int64_t>(batch) * channels + n]);
    if (residual) sum += dev::to_float(residual[at]);
    if (f32) {
      static_cast<float*>(y)[at] = sum;
    } else {
      static_cast<T*>(y)[at] = dev::from_float<T>(sum);
    }
  }
  /// Channels n, which is even, and n + 1, if there is one.
  DEVICE void store_pair(float low, float high, std::int64_t pixel, int batch, int n) const {
    if (together >= 2) {
      float sums[2] = {low, high};
      store_words<1>(sums, pixel, batch, n);
    } else {
      store(low, pixel, batch, n);
      if (n + 1 < channels) store(high, pixel, batch, n + 1);
    }
  }
  /// Channels n, a multiple of 8, to n + 7, as far as there are some; sums: aligned to 16 bytes.
  DEVICE void store_eight(const float* sums, std::int64_t pixel, int batch, int n) const {
    if (together == 8) {
      const Words<float, 4> first = *reinterpret_cast<const Words<float, 4>*>(sums);
      const Words<float, 4> second = *reinterpret_cast<const Words<float, 4>*>(sums + 4);
      float v[8];
      UNROLL
      for (int i = 0; i < 4; ++i) v[i] = first.w[i], v[i + 4] = second.w[i];
      store_words<4>(v, pixel, batch, n);
    } else {
      for (int i = 0; i < 8 && n + i < channels; ++i) store(sums[i], pixel, batch, n + i);
    }
  }

 private:
  template <class W, int kCount>
  struct alignas(4 * kCount) Words {
    W w[kCount];
  };

  template <int kWords>
  DEVICE void store_words(float (&v)[2 * kWords], std::int64_t pixel, int batch, int n) const {
    const std::int64_t at = pixel * channels + n;
    if (bias) {
      UNROLL
      for (int i = 0; i < 2 * kWords; ++i) v[i] += bias[n + i];
    }
    if (group_bias) add_words<kWords>(v, group_bias + static_cast<std::int64_t>(batch) * channels + n);
    if (residual) add_words<kWords>(v, residual + at);
    Words<std::uint32_t, kWords> words;
    UNROLL
    for (int i = 0; i < kWords; ++i) words.w[i] = dev::pack<T>(v[2 * i], v[2 * i + 1]);
    *reinterpret_cast<Words<std::uint32_t, kWords>*>(static_cast<T*>(y) + at) = words;
  }
  template <int kWords>
  DEVICE static void add_words(float (&v)[2 * kWords], const T* from) {
    const auto words = *reinterpret_cast<const Words<std::uint32_t, kWords>*>(from);
    UNROLL
    for (int i = 0; i < kWords; ++i) {
      const dev::Pair pair = dev::unpack<T>(words.w[i]);
      v[2 * i] += pair.low, v[2 * i + 1] += pair.high;
    }
  }
};

}  // namespace cones::cuda
