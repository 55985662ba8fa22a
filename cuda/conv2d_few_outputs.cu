// Convolutions to a handful of channels (the UNet's last, the autoencoder's), and gradients to a handful.
//
// A warp computes 32 sums together, some pixels × a few outputs; its lanes share the channels, so that they read neighbouring
// words of a pixel. In the end lane l wants the whole of sum l: the lanes halve what they hold in each of five exchanges.
#include "conv2d_few.cuh"

namespace cones::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;

/// The warp's totals of v[0 … 2 kHalf), of which lane l keeps that of v[l % (2 kHalf)], as v[0].
template <int kHalf>
DEVICE void sum_transposed(float (&v)[32]) {
  const bool upper = dev::thread() & kHalf;
  UNROLL
  for (int i = 0; i < kHalf; ++i) {
    const float kept = upper ? v[i + kHalf] : v[i], given = upper ? v[i] : v[i + kHalf];
    v[i] = kept + dev::shuffle_xor(given, kHalf);
  }
  if constexpr (kHalf > 1) sum_transposed<kHalf / 2>(v);
}

/// kOutputs: 4, 8 or 16. kWidth: channels a lane reads at once, 2 (as one word) or 1.
template <class T, int kOutputs, int kWidth>
KERNEL void LAUNCH_BOUNDS(kThreads, 3) few_outputs(const FewArgs<T, T> a) {
  constexpr int kPixels = 32 / kOutputs;
  const int lane = dev::thread() % 32, pixels = a.window.pixels();
  const std::int64_t first = (static_cast<std::int64_t>(dev::block_x()) * kWarps + dev::thread() / 32) * kPixels;
  if (first >= pixels) return;  // a whole warp
  const int first_m = static_cast<int>(first);

  Place places[kPixels];
  UNROLL
  for (int p = 0; p < kPixels; ++p) places[p] = a.window.place(first_m + p < pixels ? first_m + p : first_m);
  float sum[32] = {};  // [pixel][output]
  for (int jy = 0; jy < a.window.y.taps; ++jy)
    for (int jx = 0; jx < a.window.x.taps; ++jx) {
      const int tap = a.window.tap(jy, jx);
      int source[kPixels];
      UNROLL
      for (int p = 0; p < kPixels; ++p) source[p] = a.window.source(places[p], jy, jx);
      for (int c = lane * kWidth; c < a.channels; c += 32 * kWidth) {
        float x[kPixels][kWidth];
        UNROLL
        for (int p = 0; p < kPixels; ++p) {
          const T* const from = a.source + static_cast<std::int64_t>(source[p]) * a.channels + c;
          if constexpr (kWidth == 2) {
            const auto pair = dev::unpack<T>(source[p] < 0 ? 0u : *reinterpret_cast<const std::uint32_t*>(from));
            x[p][0] = pair.low, x[p][1] = pair.high;
          } else {
            x[p][0] = source[p] < 0 ? 0.0f : dev::to_float(*from);
          }
        }
        UNROLL
        for (int n = 0; n < kOutputs; ++n) {
          if (n >= a.out.channels) break;
          UNROLL
          for (int i = 0; i < kWidth; ++i) {
            const float w = a.filter.at(tap, c + i, n);
            UNROLL
            for (int p = 0; p < kPixels; ++p) sum[p * kOutputs + n] += x[p][i] * w;
          }
        }
      }
    }

  sum_transposed<16>(sum);
  const int m = first_m + lane / kOutputs, n = lane % kOutputs;
  if (m < pixels && n < a.out.channels) a.out.store(sum[0], a.window.out_pixel(m), a.window.place(m).batch, n);
}

template <class T, int kOutputs>
int start(Stream* stream, const FewArgs<T, T>& args) {
  const std::int64_t pixels = std::int64_t{args.window.batch} * args.window.y.grid * args.window.x.grid;
  const Grid grid{divide_up(pixels, kWarps * (32 / kOutputs))};
  const bool pairs = args.channels % 2 == 0 && all_aligned(4, args.source);
  return launch(stream, pairs ? few_outputs<T, kOutputs, 2> : few_outputs<T, kOutputs, 1>, grid, kThreads, 0, args);
}

}  // namespace

template <class T>
int convolve_few_outputs(Stream* stream, const FewArgs<T, T>& args) {
  if (args.out.channels <= 4) return start<T, 4>(stream, args);
  if (args.out.channels <= 8) return start<T, 8>(stream, args);
  return start<T, 16>(stream, args);
}
template int convolve_few_outputs(Stream*, const FewArgs<dev::half, dev::half>&);
template int convolve_few_outputs(Stream*, const FewArgs<dev::bf16, dev::bf16>&);

}  // namespace cones::cuda
