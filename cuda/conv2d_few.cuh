// What the kernels for few channels are told: the sums over taps and c of source[pixel, c] · weight[tap, c, n].
#pragma once

#include "conv2d_output.cuh"
#include "conv2d_window.cuh"

namespace cones::cuda {

/// The one matrix [O, taps, I] serves both directions: forward c counts inputs and n outputs, backward the other way round.
template <class T>
struct ConvFilter {
  const T* weight;
  std::int64_t c_step, n_step, tap_step;  // elements

  DEVICE float at(int tap, int c, int n) const { return dev::to_float(weight[tap * tap_step + c * c_step + n * n_step]); }
};

/// S is the source's type: T or float.
template <class T, class S>
struct FewArgs {
  Window window;
  const S* source;  // [pixels, channels]
  int channels;
  ConvFilter<T> filter;
  ConvOutput<T> out;
};

/// Few `channels`, any number of outputs.
template <class T, class S>
int convolve_few_inputs(Stream*, const FewArgs<T, S>&);
/// Few outputs, any number of `channels`.
template <class T>
int convolve_few_outputs(Stream*, const FewArgs<T, T>&);

}  // namespace cones::cuda
