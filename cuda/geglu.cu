#include "geglu.h"

#include "activations.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

// A piece of eight never leaves its row: it is used only where eight divides the channels.

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) geglu_kernel(GegluForwardArgs a) {
  sweep<kWidth>(a.rows * a.channels, [&]<int n>(std::int64_t i) {
    const T* x = static_cast<const T*>(a.x) + i + i / a.channels * a.channels;
    float value[n], gate[n];
    load_values(x, value);
    load_values(x + a.channels, gate);
    UNROLL for (int k = 0; k < n; ++k) value[k] *= Gelu::value(gate[k]);
    store_values(static_cast<T*>(a.y) + i, value);
  });
}

template <class T, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) geglu_backward_kernel(GegluBackwardArgs a) {
  sweep<kWidth>(a.rows * a.channels, [&]<int n>(std::int64_t i) {
    const std::int64_t at = i + i / a.channels * a.channels;
    const T* x = static_cast<const T*>(a.x) + at;
    T* dx = static_cast<T*>(a.dx) + at;
    float value[n], gate[n], d[n];
    load_values(static_cast<const T*>(a.dy) + i, d);
    load_values(x, value);
    load_values(x + a.channels, gate);
    UNROLL for (int k = 0; k < n; ++k) {
      value[k] *= d[k] * Gelu::derivative(gate[k]);
      d[k] *= Gelu::value(gate[k]);
    }
    store_values(dx, d);
    store_values(dx + a.channels, value);
  });
}

}  // namespace

int geglu_forward(Stream* stream, const GegluForwardArgs& args) {
  if (args.rows <= 0 || args.channels <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(args.channels % 8 == 0 && aligned16(args.x, args.y), [&](auto width) {
      return launch(stream, geglu_kernel<decltype(type), width.value>, sweep_grid(args.rows * args.channels, width.value),
                    kSweepThreads, 0, args);
    });
  });
}

int geglu_backward(Stream* stream, const GegluBackwardArgs& args) {
  if (args.rows <= 0 || args.channels <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_width(args.channels % 8 == 0 && aligned16(args.dy, args.x, args.dx), [&](auto width) {
      return launch(stream, geglu_backward_kernel<decltype(type), width.value>,
                    sweep_grid(args.rows * args.channels, width.value), kSweepThreads, 0, args);
    });
  });
}

}  // namespace cones::cuda
