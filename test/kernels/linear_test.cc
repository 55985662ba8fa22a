// linear_forward and linear_backward_input against sums in fp64.
#include "linear.h"

#include "linear.cu"
#include "product_check.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

struct Case {
  int M, N, K;
  bool bias, residual, f32;
  std::size_t off;  // elements by which all matrices are shifted: not aligned to 16 bytes
};

template <class T, class Y>
void forward(const Case& c) {
  const auto M = static_cast<std::size_t>(c.M), N = static_cast<std::size_t>(c.N), K = static_cast<std::size_t>(c.K);
  Guarded<T> x(check::normals<T>(M * K), c.off), w(check::normals<T>(N * K), c.off), residual(check::normals<T>(M * N));
  std::vector<float> bias = check::normals<float>(N);
  std::vector<check::Sum> want(M * N);
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < N; ++n) {
      check::Sum& s = want[m * N + n];
      for (std::size_t k = 0; k < K; ++k) s.add(dev::to_float(x[m * K + k]), dev::to_float(w[n * K + k]));
      if (c.bias) s.add(bias[n]);
      if (c.residual) s.add(dev::to_float(residual[m * N + n]));
    }
  check::each_order([&] {
    Guarded<Y> y(M * N);
    const int rc = linear_forward(nullptr, {check::type_of<T>, c.M, c.N, c.K, x.data(), w.data(), c.bias ? bias.data() : nullptr,
                                            c.residual ? residual.data() : nullptr, y.data(),
                                            c.f32 ? Type::f32 : check::type_of<T>});
    check::expect(rc == 0, "rc");
    check::expect(y.intact(), "wrote outside of y");
    for (std::size_t i = 0; i < M * N; ++i) check::expect_close(y[i], want[i], c.K, "y[" + std::to_string(i) + "]");
    // The last row alone, in whatever tile: the same bits.
    Guarded<Y> alone(N);
    linear_forward(nullptr, {check::type_of<T>, 1, c.N, c.K, x.data() + (M - 1) * K, w.data(), c.bias ? bias.data() : nullptr,
                             c.residual ? residual.data() + (M - 1) * N : nullptr, alone.data(),
                             c.f32 ? Type::f32 : check::type_of<T>});
    for (std::size_t n = 0; n < N; ++n)
      check::expect(dev::to_float(alone[n]) == dev::to_float(y[(M - 1) * N + n]), "a row depends on its neighbours");
  });
}

template <class T>
void backward(const Case& c) {
  const auto M = static_cast<std::size_t>(c.M), N = static_cast<std::size_t>(c.N), K = static_cast<std::size_t>(c.K);
  Guarded<T> dy(check::normals<T>(M * N), c.off), w(check::normals<T>(N * K), c.off);
  const std::vector<T> onto = check::normals<T>(M * K);
  std::vector<check::Sum> want(M * K);
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t k = 0; k < K; ++k) {
      check::Sum& s = want[m * K + k];
      for (std::size_t n = 0; n < N; ++n) s.add(dev::to_float(dy[m * N + n]), dev::to_float(w[n * K + k]));
      if (c.residual) s.add(dev::to_float(onto[m * K + k]));
    }
  check::each_order([&] {
    Guarded<T> dx(M * K);
    if (c.residual) std::copy(onto.begin(), onto.end(), dx.data());  // onto itself
    const int rc = linear_backward_input(
        nullptr, {check::type_of<T>, c.M, c.N, c.K, dy.data(), w.data(), c.residual ? dx.data() : nullptr, dx.data()});
    check::expect(rc == 0, "rc");
    check::expect(dx.intact(), "wrote outside of dx");
    for (std::size_t i = 0; i < M * K; ++i) check::expect_close(dx[i], want[i], c.N, "dx[" + std::to_string(i) + "]");
  });
}

}  // namespace

int main() {
  const Case cases[] = {
      {1, 8, 8, true, false, false, 0},     {77, 72, 40, true, true, false, 0},     {65, 136, 200, false, true, true, 0},
      {130, 64, 320, true, false, false, 0}, {3, 5, 7, true, true, false, 0},        {70, 67, 33, true, true, true, 0},
      {65, 24, 64, true, true, false, 1},    {2500, 848, 40, true, true, false, 0},  {2433, 776, 40, false, true, false, 0},
      {5200, 400, 24, true, false, true, 0}, {2500, 24, 776, false, true, false, 0}, {5200, 16, 400, false, false, false, 0},
  };
  for (const Case& c : cases) {
    check::now = std::to_string(c.M) + " x " + std::to_string(c.N) + " x " + std::to_string(c.K);
    const bool big = c.M > 1000;  // for the large tiles, of one direction
    if (big && c.N < c.K) {
    } else if (c.f32) {
      forward<dev::half, float>(c);
      if (!big) forward<dev::bf16, float>(c);
    } else {
      forward<dev::half, dev::half>(c);
      if (!big) forward<dev::bf16, dev::bf16>(c);
    }
    if (!big || c.N < c.K) backward<dev::bf16>(c);
    if (!big) backward<dev::half>(c);
  }
  return check::done();
}
