// Exponentials and what is made of them, on vectors. Polynomials are minimax fits (relative error below 4e-8); with
// rounding, exp2 and exp are within 2 units in the last place. The relative error of the Gaussian tail grows with a²,
// through the rounding of its exponent; where it is large the tail no longer counts.
#pragma once

#include "cpu/kernels/simd.h"

namespace cones::CONES_ISA {

/// Σ coefficients[k] x^k by Horner's rule.
template <int n>
CONES_INLINE vec polynomial(const float (&coefficients)[n], vec x) {
  vec y = set(coefficients[n - 1]);
  for (int k = n - 2; k >= 0; --k) y = fma(y, x, set(coefficients[k]));
  return y;
}

/// 2^x for x ≤ 127; 0 below the range of normal numbers.
CONES_INLINE vec exp2(vec x) {
  constexpr float kPolynomial[] = {1.0f,           0.693147182f,   0.240226462f,  0.0555032864f,
                                   0.00961848907f, 0.00133999309f, 0.000153458081f};
  x = max(set(kLowestPower), x);
  const vec n = round(x);
  return scale_by_power(polynomial(kPolynomial, x - n), n);
}

/// e^x, with x clamped to ±88.
CONES_INLINE vec exp(vec x) {
  constexpr float kPolynomial[] = {1.0f,           1.0f,           0.499999911f,  0.166664198f,
                                   0.0416682288f, 0.00837484561f, 0.00138368038f};
  x = min(set(88.0f), max(set(-88.0f), x));
  const vec n = round(x * set(1.44269504f));
  // ln 2 in two parts; n times the first is exact, with or without a fused multiply-add.
  const vec r = fma(n, set(-3.19461833e-5f), fma(n, set(-0.693115234f), x));
  return scale_by_power(polynomial(kPolynomial, r), n);
}

/// σ(x) = 1 / (1 + e^−x), and its complement 1 − σ(x), which would lose its digits to cancellation for large x.
struct Sigmoid {
  vec value, complement;
};
CONES_INLINE Sigmoid sigmoid(vec x) {
  const vec e = exp(set(0.0f) - x), s = set(1.0f) / (set(1.0f) + e);
  return {s, e * s};
}

/// e^(−a²/2) and the upper tail of the normal distribution, Q(a) = 1 − Φ(a) = erfc(a/√2)/2, for a ≥ 0.
struct Gaussian {
  vec exponential, tail;
};
CONES_INLINE Gaussian gaussian(vec a) {
  // Q(a) e^(a²/2) / t is smooth in t = 1/(1 + 0.35 a); the form is Abramowitz & Stegun's 7.1.26, with more terms.
  constexpr float kPolynomial[] = {0.139621705f, 0.139856696f,  0.119869113f, 0.105369084f,  -0.0227904934f,
                                   0.158721641f, -0.255326957f, 0.143788069f, -0.0291089006f};
  const vec e = exp2(a * a * set(-0.721347520f));  // −log2(e) / 2
  const vec t = set(1.0f) / fma(set(0.35f), a, set(1.0f));
  return {e, polynomial(kPolynomial, t) * t * e};
}

struct Silu {
  static CONES_INLINE vec value(vec x) { return x / (set(1.0f) + exp(set(0.0f) - x)); }
  static CONES_INLINE vec derivative(vec x) {
    const Sigmoid s = sigmoid(x);
    return fma(x * s.value, s.complement, s.value);
  }
};

/// x Φ(x), the exact GELU. Written as max(x, 0) − |x| Q(|x|) it keeps its relative accuracy for negative x.
struct Gelu {
  static CONES_INLINE vec value(vec x) {
    const vec a = abs(x);
    return max(set(0.0f), x) - a * gaussian(a).tail;
  }
  static CONES_INLINE vec derivative(vec x) {
    const Gaussian g = gaussian(abs(x));
    const vec phi = g.exponential * set(0.398942280f);  // density
    return fma(x, phi, where_not_negative(x, set(1.0f) - g.tail, g.tail));
  }
};

/// x σ(1.702 x).
struct QuickGelu {
  static CONES_INLINE vec value(vec x) { return x * sigmoid(x * set(1.702f)).value; }
  static CONES_INLINE vec derivative(vec x) {
    const vec u = x * set(1.702f);
    const Sigmoid s = sigmoid(u);
    return fma(u * s.value, s.complement, s.value);
  }
};

/// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), which is x σ(2√(2/π) (x + 0.044715 x³)).
struct GeluTanh {
  static CONES_INLINE vec value(vec x) { return x * sigmoid(argument(x)).value; }
  static CONES_INLINE vec derivative(vec x) {
    const Sigmoid s = sigmoid(argument(x));
    // Beyond ±16 the sigmoid is flat; without the clamp x² could overflow and give 0 · ∞.
    const vec c = min(set(16.0f), max(set(-16.0f), x));
    const vec slope = c * fma(c * c, set(3 * 0.044715f * 1.59576912f), set(1.59576912f));
    return fma(slope * s.value, s.complement, s.value);
  }

 private:
  static CONES_INLINE vec argument(vec x) {
    return x * fma(x * x, set(0.044715f * 1.59576912f), set(1.59576912f));
  }
};

/// max(x, 0); its slope at 0 is 0, as PyTorch's.
struct Relu {
  static CONES_INLINE vec value(vec x) { return max(set(0.0f), x); }
  static CONES_INLINE vec derivative(vec x) { return where_not_negative(set(0.0f) - x, set(0.0f), set(1.0f)); }
};

}  // namespace cones::CONES_ISA
