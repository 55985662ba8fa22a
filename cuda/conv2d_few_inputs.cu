// Convolutions of pictures with a handful of channels (the UNet's first, the autoencoder's), and gradients of those to a handful.
//
// All taps and channels of a pixel are one short row of k = (tap, c): a block gathers the rows of 32 pixels as fp32 into
// shared memory, beside the filters of 64 outputs, and multiplies as one would without tensor cores. Nothing is padded.
#include "conv2d_few.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kPixels = 32, kOutputs = 64;        // of a block; a thread has 4 pixels × 4 outputs
constexpr int kDepth = 32;                        // of k at a time
constexpr int kPixelPitch = kPixels + 4, kOutputPitch = kOutputs + 2;  // floats: columns are written without many conflicts
constexpr std::size_t kShared = sizeof(float) * kDepth * (kPixelPitch + kOutputPitch);

template <class T, class S>
KERNEL void LAUNCH_BOUNDS(kThreads) few_inputs(const FewArgs<T, S> a) {
  float* const rows = reinterpret_cast<float*>(dev::shared());  // [kDepth][kPixelPitch]
  float* const filters = rows + kDepth * kPixelPitch;           // [kDepth][kOutputPitch]
  const int tiles_n = (a.out.channels + kOutputs - 1) / kOutputs;
  const int first_m = dev::block_x() / tiles_n * kPixels, first_n = dev::block_x() % tiles_n * kOutputs;
  const int pixels = a.window.pixels(), depth = a.window.taps() * a.channels;
  const int t = dev::thread();

  // This thread gathers k = t / 32 + 4 i of one pixel, and k = t % 32 of every fourth output (t / 32 + 4 i).
  const int own_m = first_m + t % kPixels;
  const Place place = a.window.place(own_m < pixels ? own_m : 0);
  const auto split_k = [&](int k, int& jy, int& jx, int& c) {
    const int j = k / a.channels;
    c = k - j * a.channels;
    jy = j / a.window.x.taps;
    jx = j - jy * a.window.x.taps;
  };

  const int pixel0 = t / 16 * 4, output0 = t % 16 * 2;  // outputs output0 + {0, 1, 32, 33}
  float sum[4][4] = {};
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    const int count = depth - k0 < kDepth ? depth - k0 : kDepth;
    for (int k = t / kPixels; k < count; k += kThreads / kPixels) {
      int jy, jx, c;
      split_k(k0 + k, jy, jx, c);
      const int source = own_m < pixels ? a.window.source(place, jy, jx) : -1;
      rows[k * kPixelPitch + t % kPixels] =
          source < 0 ? 0.0f : dev::to_float(a.source[static_cast<std::int64_t>(source) * a.channels + c]);
    }
    if (t % kDepth < count) {
      int jy, jx, c;
      split_k(k0 + t % kDepth, jy, jx, c);
      const int tap = a.window.tap(jy, jx);
      for (int n = t / kDepth; n < kOutputs; n += kThreads / kDepth)
        filters[t % kDepth * kOutputPitch + n] = first_n + n < a.out.channels ? a.filter.at(tap, c, first_n + n) : 0.0f;
    }
    dev::sync();
    for (int k = 0; k < count; ++k) {
      float x[4], w[4];
      UNROLL
      for (int i = 0; i < 4; ++i) x[i] = rows[k * kPixelPitch + pixel0 + i];
      UNROLL
      for (int j = 0; j < 4; ++j) w[j] = filters[k * kOutputPitch + output0 + j % 2 + j / 2 * 32];
      UNROLL
      for (int i = 0; i < 4; ++i) {
        UNROLL
        for (int j = 0; j < 4; ++j) sum[i][j] += x[i] * w[j];
      }
    }
    dev::sync();
  }

  UNROLL
  for (int i = 0; i < 4; ++i) {
    const int m = first_m + pixel0 + i;
    if (m >= pixels) break;
    const int batch = a.window.place(m).batch, pixel = a.window.out_pixel(m);
    UNROLL
    for (int j = 0; j < 2; ++j) {
      const int n = first_n + output0 + j * 32;
      if (n < a.out.channels) a.out.store_pair(sum[i][j * 2], sum[i][j * 2 + 1], pixel, batch, n);
    }
  }
}

}  // namespace

template <class T, class S>
int convolve_few_inputs(Stream* stream, const FewArgs<T, S>& args) {
  const std::int64_t pixels = std::int64_t{args.window.batch} * args.window.y.grid * args.window.x.grid;
  const Grid grid{divide_up(pixels, kPixels) * divide_up(args.out.channels, kOutputs)};
  return launch(stream, few_inputs<T, S>, grid, kThreads, kShared, args);
}
template int convolve_few_inputs(Stream*, const FewArgs<dev::half, dev::half>&);
template int convolve_few_inputs(Stream*, const FewArgs<dev::half, float>&);
template int convolve_few_inputs(Stream*, const FewArgs<dev::bf16, dev::bf16>&);
template int convolve_few_inputs(Stream*, const FewArgs<dev::bf16, float>&);

}  // namespace cones::cuda
