// kv_project_forward and kv_project_backward_input against sums in fp64.
#include "kv_project.h"

#include "kv_project.cu"
#include "product_check.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

struct Case {
  int B, T, N, K;
  bool masks, delta, onto;
  std::size_t off;
};

template <class T>
void run(const Case& c) {
  const auto B = static_cast<std::size_t>(c.B), M = static_cast<std::size_t>(c.T), N = static_cast<std::size_t>(c.N),
             K = static_cast<std::size_t>(c.K), words = (K + 31) / 32;
  Guarded<T> x(check::normals<T>(B * M * K), c.off), dy(check::normals<T>(B * M * N), c.off), w(check::normals<T>(N * K), c.off),
      delta(check::normals<T>(N * K, 1e-3f), c.off);
  const std::vector<T> onto = check::normals<T>(B * M * K);
  std::vector<std::vector<std::uint32_t>> masks(B);
  std::vector<const std::uint32_t*> pointers(B, nullptr);
  for (std::size_t b = 0; b < B; ++b) {
    if (!c.masks || b % 3 == 2) continue;
    masks[b].resize(N * words);
    for (std::uint32_t& word : masks[b]) word = check::random() | check::random();
    pointers[b] = masks[b].data();
  }
  // What the weights are for row b, in fp64, and their magnitudes.
  const auto weight = [&](std::size_t b, std::size_t n, std::size_t k, double a, check::Sum& sum) {
    if (pointers[b] && (masks[b][n * words + k / 32] >> (k % 32) & 1) == 0) return;
    sum.add(a, dev::to_float(w[n * K + k]));
    if (c.delta) sum.add(a, dev::to_float(delta[n * K + k]));
  };
  std::vector<check::Sum> want_y(B * M * N), want_dx(B * M * K);
  for (std::size_t b = 0; b < B; ++b)
    for (std::size_t t = b * M; t < (b + 1) * M; ++t) {
      for (std::size_t n = 0; n < N; ++n)
        for (std::size_t k = 0; k < K; ++k) {
          weight(b, n, k, dev::to_float(x[t * K + k]), want_y[t * N + n]);
          weight(b, n, k, dev::to_float(dy[t * N + n]), want_dx[t * K + k]);
        }
      for (std::size_t k = 0; k < K && c.onto; ++k) want_dx[t * K + k].add(dev::to_float(onto[t * K + k]));
    }
  const void* const second = c.delta ? delta.data() : nullptr;
  const std::uint32_t* const* const all = c.masks ? pointers.data() : nullptr;
  check::each_order([&] {
    Guarded<T> y(B * M * N), dx(B * M * K);
    if (c.onto) std::copy(onto.begin(), onto.end(), dx.data());
    check::expect(kv_project_forward(nullptr, {check::type_of<T>, c.B, c.T, c.N, c.K, x.data(), w.data(), second, all, y.data(),
                                               nullptr, nullptr}) == 0, "rc");
    check::expect(kv_project_backward_input(nullptr, {check::type_of<T>, c.B, c.T, c.N, c.K, dy.data(), w.data(), second, all,
                                                      c.onto ? dx.data() : nullptr, dx.data(), nullptr, nullptr}) == 0, "rc");
    check::expect(y.intact() && dx.intact(), "wrote outside");
    for (std::size_t i = 0; i < y.size(); ++i) check::expect_close(y[i], want_y[i], 2.0 * c.K, "y[" + std::to_string(i) + "]");
    for (std::size_t i = 0; i < dx.size(); ++i) check::expect_close(dx[i], want_dx[i], 2.0 * c.N, "dx[" + std::to_string(i) + "]");
    // The last batch row alone: the same bits.
    Guarded<T> alone(M * N);
    kv_project_forward(nullptr, {check::type_of<T>, 1, c.T, c.N, c.K, x.data() + (B - 1) * M * K, w.data(), second,
                                 c.masks ? all + B - 1 : nullptr, alone.data(), nullptr, nullptr});
    for (std::size_t i = 0; i < M * N; ++i)
      check::expect(dev::to_float(alone[i]) == dev::to_float(y[(B - 1) * M * N + i]), "a row depends on its neighbours");
  });
}

}  // namespace

int main() {
  const Case cases[] = {
      {2, 77, 72, 96, true, false, true, 0},   {3, 64, 320, 40, true, true, false, 0}, {4, 5, 40, 200, true, true, true, 0},
      {1, 70, 64, 128, false, false, true, 0}, {2, 9, 30, 45, true, true, true, 0},    {2, 66, 16, 64, true, false, false, 1},
      {67, 1, 8, 8, true, false, false, 0},    {1, 1100, 560, 24, true, false, false, 0}, {1, 1030, 24, 592, true, true, true, 0},
      {1, 1100, 568, 8, false, true, false, 0},
  };
  for (const Case& c : cases) {
    check::now = "B " + std::to_string(c.B) + " T " + std::to_string(c.T) + " N " + std::to_string(c.N) + " K " + std::to_string(c.K);
    run<dev::half>(c);
    if (c.T < 1000) run<dev::bf16>(c);
  }
  return check::done();
}
