// Activation functions of single values, the same formulas as the CPU's (csrc/kernels/simd_math.h).
//
// NaN stays NaN: min and max are written so that it passes.
#pragma once

#include "ptx.cuh"

namespace cones::cuda {

/// x within ±limit.
DEVICE float clamp(float x, float limit) {
  if (x > limit) return limit;
  return x < -limit ? -limit : x;
}

/// σ(x) = 1 / (1 + e^−x), and its complement 1 − σ(x), which would lose its digits to cancellation for large x.
struct Sigmoid {
  float value, complement;
};
/// |x| ≤ 88, so that e^−x is finite.
DEVICE Sigmoid sigmoid(float x) {
  const float e = dev::exponential(-x), s = 1.0f / (1.0f + e);
  return {s, e * s};
}

/// e^(−a²/2) and the upper tail of the normal distribution, Q(a) = 1 − Φ(a), for a ≥ 0.
struct Gaussian {
  float exponential, tail;
};
DEVICE Gaussian gaussian(float a) {
  // Q(a) e^(a²/2) / t is smooth in t = 1/(1 + 0.35 a); the form is Abramowitz & Stegun's 7.1.26, with more terms.
  const float e = dev::exp2_fast(a * a * -0.721347520f);  // −log2(e) / 2
  const float t = 1.0f / dev::fma(0.35f, a, 1.0f);
  float y = -0.0291089006f;
  y = dev::fma(y, t, 0.143788069f);
  y = dev::fma(y, t, -0.255326957f);
  y = dev::fma(y, t, 0.158721641f);
  y = dev::fma(y, t, -0.0227904934f);
  y = dev::fma(y, t, 0.105369084f);
  y = dev::fma(y, t, 0.119869113f);
  y = dev::fma(y, t, 0.139856696f);
  y = dev::fma(y, t, 0.139621705f);
  return {e, y * t * e};
}

struct Silu {
  static DEVICE float value(float x) { return x / (1.0f + dev::exponential(-x)); }
  static DEVICE float derivative(float x) {
    x = clamp(x, 88.0f);
    const Sigmoid s = sigmoid(x);
    return dev::fma(x * s.value, s.complement, s.value);
  }
};

/// x Φ(x), the exact GELU. Written as max(x, 0) − |x| Q(|x|) it keeps its relative accuracy for negative x.
struct Gelu {
  static DEVICE float value(float x) {
    const float a = x < 0.0f ? -x : x;
    return (x > 0.0f ? x : 0.0f) - a * gaussian(a).tail;
  }
  static DEVICE float derivative(float x) {
    const Gaussian g = gaussian(x < 0.0f ? -x : x);
    const float density = g.exponential * 0.398942280f;
    return dev::fma(x, density, x < 0.0f ? g.tail : 1.0f - g.tail);
  }
};

/// x σ(1.702 x).
struct QuickGelu {
  static DEVICE float value(float x) { return x / (1.0f + dev::exponential(-1.702f * x)); }
  static DEVICE float derivative(float x) {
    const float u = clamp(1.702f * x, 88.0f);
    const Sigmoid s = sigmoid(u);
    return dev::fma(u * s.value, s.complement, s.value);
  }
};

/// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), which is x σ(2√(2/π) (x + 0.044715 x³)).
struct GeluTanh {
  static DEVICE float value(float x) { return x / (1.0f + dev::exponential(-argument(x))); }
  static DEVICE float derivative(float x) {
    const Sigmoid s = sigmoid(clamp(argument(x), 88.0f));
    // Beyond ±16 the sigmoid is flat; without the clamp x² could overflow and give 0 · ∞.
    const float c = clamp(x, 16.0f);
    const float slope = c * dev::fma(c * c, 3 * 0.044715f * 1.59576912f, 1.59576912f);
    return dev::fma(slope * s.value, s.complement, s.value);
  }

 private:
  static DEVICE float argument(float x) { return x * dev::fma(x * x, 0.044715f * 1.59576912f, 1.59576912f); }
};

/// max(x, 0); its slope at 0 is 0, as PyTorch's.
struct Relu {
  static DEVICE float value(float x) { return x < 0.0f ? 0.0f : x; }
  static DEVICE float derivative(float x) {
    if (x > 0.0f) return 1.0f;
    return x == x ? 0.0f : x;
  }
};

}  // namespace cones::cuda
