#include "activation.h"

#include "activations.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

template <class T, class F, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) activation_kernel(ActivationForwardArgs a) {
  sweep<kWidth>(a.count, [&]<int n>(std::int64_t i) {
    float v[n];
    load_values(static_cast<const T*>(a.x) + i, v);
    UNROLL for (int k = 0; k < n; ++k) v[k] = F::value(v[k]);
    store_values(static_cast<T*>(a.y) + i, v);
  });
}

template <class T, class F, int kWidth>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) activation_backward_kernel(ActivationBackwardArgs a) {
  sweep<kWidth>(a.count, [&]<int n>(std::int64_t i) {
    float v[n], d[n];
    load_values(static_cast<const T*>(a.x) + i, v);
    load_values(static_cast<const T*>(a.dy) + i, d);
    UNROLL for (int k = 0; k < n; ++k) d[k] *= F::derivative(v[k]);
    store_values(static_cast<T*>(a.dx) + i, d);
  });
}

template <class F>
int with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::silu: return f(Silu());
    case Activation::gelu: return f(Gelu());
    case Activation::quick_gelu: return f(QuickGelu());
    case Activation::gelu_tanh: return f(GeluTanh());
    case Activation::relu: return f(Relu());
  }
  return kInvalid;
}

}  // namespace

int activation_forward(Stream* stream, const ActivationForwardArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_activation(args.activation, [&](auto function) {
      return with_width(aligned16(args.x, args.y), [&](auto width) {
        return launch(stream, activation_kernel<decltype(type), decltype(function), width.value>,
                      sweep_grid(args.count, width.value), kSweepThreads, 0, args);
      });
    });
  });
}

int activation_backward(Stream* stream, const ActivationBackwardArgs& args) {
  if (args.count <= 0) return kInvalid;
  return with_type(args.type, [&](auto type) {
    return with_activation(args.activation, [&](auto function) {
      return with_width(aligned16(args.dy, args.x, args.dx), [&](auto width) {
        return launch(stream, activation_backward_kernel<decltype(type), decltype(function), width.value>,
                      sweep_grid(args.count, width.value), kSweepThreads, 0, args);
      });
    });
  });
}

}  // namespace cones::cuda
