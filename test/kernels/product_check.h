// For tests of kernels built on cuda/product.cuh: inputs of 16 bits, guarded and poisoned outputs, and the tolerance of one rounding
// to 16 bits plus sums in fp32.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "launch.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace check {

inline int failures = 0;
inline const int most_failures = std::getenv("CONES_TEST_FIRST") != nullptr ? 1 : 20;  // then the test ends
inline std::string now;  // the case that runs

inline void expect(bool ok, const std::string& what) {
  if (ok) return;
  std::printf("FAILED %s: %s\n", now.c_str(), what.c_str());
  if (++failures < most_failures) return;
  std::fflush(stdout);
  std::_Exit(1);
}

template <class T>
constexpr bool is_half = std::is_same_v<T, dev::half>;
template <class T>
constexpr cones::cuda::Type type_of = is_half<T> ? cones::cuda::Type::f16 : cones::cuda::Type::bf16;
template <class T>
constexpr double unit = std::is_same_v<T, float> ? 0x1p-24 : is_half<T> ? 0x1p-11 : 0x1p-8;

inline std::mt19937 random(1);
template <class T>
std::vector<T> normals(std::size_t n, float scale = 1) {
  std::normal_distribution<float> d(0, scale);
  std::vector<T> v(n);
  for (T& x : v) x = dev::from_float<T>(d(random));
  return v;
}

/// Values at an address that is `off` elements behind one aligned to 16 bytes, NaN at first, guards on both sides.
template <class T>
class Guarded {
 public:
  static constexpr std::size_t kGuard = 64;
  explicit Guarded(std::size_t n, std::size_t off = 0) : n_(n), off_(off), bytes_((n + off + 2 * kGuard) * sizeof(T) + 16, 0xff) {
#ifdef __SANITIZE_ADDRESS__
    __asan_poison_memory_region(data() - kGuard, kGuard * sizeof(T));
    __asan_poison_memory_region(data() + n, kGuard * sizeof(T));
#endif
  }
  ~Guarded() { unpoison(); }
  Guarded(const Guarded&) = delete;
  Guarded(const std::vector<T>& v, std::size_t off = 0) : Guarded(v.size(), off) { std::copy(v.begin(), v.end(), data()); }
  T* data() {
    const auto at = (reinterpret_cast<std::uintptr_t>(bytes_.data()) + 15) / 16 * 16;
    return reinterpret_cast<T*>(at) + kGuard + off_;
  }
  T& operator[](std::size_t i) { return data()[i]; }
  std::size_t size() const { return n_; }
  bool intact() {
    unpoison();
    const unsigned char *begin = reinterpret_cast<unsigned char*>(data()), *end = reinterpret_cast<unsigned char*>(data() + n_);
    for (const unsigned char* p = bytes_.data(); p < bytes_.data() + bytes_.size(); ++p)
      if ((p < begin || p >= end) && *p != 0xff) return false;
    return true;
  }

 private:
  void unpoison() {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(bytes_.data(), bytes_.size());
#endif
  }
  std::size_t n_, off_;
  std::vector<unsigned char> bytes_;
};

struct Sum {
  double value = 0, magnitude = 0;
  void add(double a, double b = 1) { value += a * b, magnitude += std::fabs(a * b); }
};
/// |got − want| ≤ u·|want| + 4·√terms·2⁻²⁴·Σ|a||b|
template <class T>
void expect_close(T got, const Sum& want, double terms, const std::string& where) {
  const double v = dev::to_float(got), least = is_half<T> ? 0x1p-25 : 0;  // half of the least subnormal
  const double most = unit<T> * std::fabs(want.value) + 4 * std::sqrt(terms) * 0x1p-24 * want.magnitude + least;
  if (!(std::fabs(v - want.value) <= most))
    expect(false, where + " is " + std::to_string(v) + ", not " + std::to_string(want.value) + " ± " + std::to_string(most));
}

/// f() under every choice that the hardware has.
template <class F>
void each_order(const F& f) {
  for (int i = 0; i < 2; ++i) {
    dev::lazy_copies = i == 0;
    dev::order_seed = 7 + static_cast<unsigned>(i) * 92;
    dev::descending_blocks = i == 1;
    f();
  }
}

inline int done() {
  std::printf("%s, %d failures, %llu launches\n", failures == 0 ? "ok" : "FAILED", failures,
              static_cast<unsigned long long>(dev::launches));
  return failures == 0 ? 0 : 1;
}

}  // namespace check
