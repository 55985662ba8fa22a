// outer and column_sums against sums in fp64.
#include "outer.h"

#include "column_sums.cu"
#include "outer.cu"
#include "product_check.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

std::vector<int> arrived(kOuterCounters, 0);

template <class T>
void product(std::int64_t rows, std::int64_t columns_n, std::int64_t columns_k, std::size_t off) {
  const auto M = static_cast<std::size_t>(rows), N = static_cast<std::size_t>(columns_n), K = static_cast<std::size_t>(columns_k);
  check::now = "outer " + std::to_string(M) + " x " + std::to_string(N) + " x " + std::to_string(K);
  Guarded<T> dy(check::normals<T>(M * N), off), x(check::normals<T>(M * K), off);
  std::vector<check::Sum> want(N * K);
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t k = 0; k < K; ++k) want[n * K + k].add(0.125 * dev::to_float(dy[m * N + n]), dev::to_float(x[m * K + k]));
  const auto bytes = static_cast<std::size_t>(outer_scratch(rows, columns_n, columns_k));
  check::each_order([&] {
    Guarded<float> dw(N * K), scratch(bytes / 4);
    check::expect(outer(nullptr, {check::type_of<T>, rows, columns_n, columns_k, dy.data(), x.data(), 0.125f, dw.data(),
                                  bytes ? scratch.data() : nullptr, arrived.data()}) == 0, "rc");
    check::expect(dw.intact(), "wrote outside of dw");
    check::expect(scratch.intact(), "wrote outside of the scratch");
    for (const int a : arrived) check::expect(a == 0, "counters are left as they were");
    for (std::size_t i = 0; i < N * K; ++i)
      check::expect_close(dw[i], want[i], static_cast<double>(M), "dw[" + std::to_string(i) + "]");
  });
}

template <class T, class Y>
void sums(std::int64_t groups, std::int64_t rows, std::int64_t columns) {
  const auto G = static_cast<std::size_t>(groups), R = static_cast<std::size_t>(rows), N = static_cast<std::size_t>(columns);
  check::now = "column_sums " + std::to_string(G) + " x " + std::to_string(R) + " x " + std::to_string(N);
  Guarded<T> x(check::normals<T>(G * R * N));
  std::vector<check::Sum> want(G * N);
  for (std::size_t r = 0; r < G * R; ++r)
    for (std::size_t n = 0; n < N; ++n) want[r / R * N + n].add(0.5 * dev::to_float(x[r * N + n]));
  const auto bytes = static_cast<std::size_t>(column_sums_scratch(groups, rows, columns));
  check::each_order([&] {
    Guarded<Y> y(G * N);
    Guarded<float> scratch(bytes / 4);
    const Type type = std::is_same_v<Y, float> ? Type::f32 : check::type_of<T>;
    check::expect(column_sums(nullptr, {check::type_of<T>, groups, rows, columns, x.data(), 0.5f, y.data(), type,
                                        bytes ? scratch.data() : nullptr}) == 0, "rc");
    check::expect(y.intact() && scratch.intact(), "wrote outside");
    for (std::size_t i = 0; i < y.size(); ++i)
      check::expect_close(y[i], want[i], static_cast<double>(R), "sums[" + std::to_string(i) + "]");
  });
}

}  // namespace

int main() {
  product<dev::half>(77, 72, 40, 0);
  product<dev::bf16>(1, 8, 8, 0);
  product<dev::bf16>(1100, 72, 88, 0);  // split over tokens
  product<dev::half>(530, 30, 21, 0);   // no multiple of 8, split
  product<dev::bf16>(65, 16, 64, 1);    // not aligned
  product<dev::half>(33, 8184, 8, 0);   // large tiles, ragged
  product<dev::bf16>(513, 1000, 1024, 0);  // large tiles, split

  sums<dev::half, float>(1, 1, 1);
  sums<dev::bf16, float>(3, 70, 130);
  sums<dev::half, dev::half>(2, 1100, 67);
  sums<dev::bf16, float>(1, 5000, 10);
  sums<dev::half, float>(700, 3, 5);
  return check::done();
}
