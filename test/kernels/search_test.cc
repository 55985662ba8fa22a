// search_update_outer, search_gamma and search_highest against the CPU's own arithmetic, operation by operation: all bits.
#include "search.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "outer.h"
#include "product_check.h"
#include "search_gamma.cu"
#include "search_highest.cu"
#include "search_update.cu"

using namespace cones::cuda;
using check::Guarded;

namespace {

std::vector<int> arrived(kOuterCounters, 0);
bool same(float a, float b) { return std::memcmp(&a, &b, 4) == 0; }

struct Kept {
  float displacement, first, second, score;
};

// csrc/kernels/search_kernels.cc; this program is compiled with -ffp-contract=off.
Kept expected(const SearchStep& s, Kept w, float theta, float gradient) {
  const float xi = 1 - w.displacement;
  float g = theta * gradient;
  if (s.algorithm1) g = g * xi;
  w.score = w.score + g;
  if (s.algorithm1) g = g * xi;
  float move = s.rate * g;
  if (s.adam) {
    w.first = w.first + s.rest1 * (g - w.first);
    w.second = s.beta2 * w.second + s.rest2 * g * g;
    move = s.rate * w.first / (std::sqrt(w.second) * s.correction2 + s.epsilon);
  }
  w.displacement = w.displacement + move;
  if (s.clamp) w.displacement = std::min(1.0f, std::max(0.0f, w.displacement));
  return w;
}

struct Case {
  std::int64_t M, N, K;
  bool adam, algorithm1, clamp, within;
  std::size_t off;
};

template <class T>
void update(const Case& c) {
  const auto M = static_cast<std::size_t>(c.M), N = static_cast<std::size_t>(c.N), K = static_cast<std::size_t>(c.K),
             words = (K + 31) / 32;
  check::now = "update " + std::to_string(M) + " x " + std::to_string(N) + " x " + std::to_string(K);
  // Small integers: the sums over tokens are exact in any order, so that all else must agree in every bit. Besides, the gradient
  // itself: that of outer, which outer_test compares with sums in fp64.
  std::vector<T> whole_dy(M * N), whole_x(M * K);
  for (T& v : whole_dy) v = dev::from_float<T>(static_cast<float>(static_cast<int>(check::random() % 9) - 4));
  for (T& v : whole_x) v = dev::from_float<T>(static_cast<float>(static_cast<int>(check::random() % 9) - 4));
  Guarded<T> dy(whole_dy, c.off), x(whole_x, c.off), theta(check::normals<T>(N * K), c.off);
  std::vector<std::uint32_t> allowed(N * words);
  for (std::uint32_t& w : allowed) w = check::random() & check::random();
  const SearchStep step{c.adam, c.algorithm1, c.clamp, 0.37f, 0.1f, 0.999f, 0.001f, 31.6f, 1e-8f};
  const float scale = 0x1p-10f;
  const auto bytes = static_cast<std::size_t>(search_update_outer_scratch(c.M, c.N, c.K));

  check::each_order([&] {
    Guarded<float> displacement(check::normals<float>(N * K, 0.4f)), score(check::normals<float>(N * K)),
        first(check::normals<float>(N * K)), second(check::normals<float>(N * K)), scratch(bytes / 4);
    for (std::size_t i = 0; i < N * K; ++i) {
      second[i] = std::fabs(second[i]);
      if (c.clamp) displacement[i] = std::fabs(displacement[i]);
    }
    std::vector<Kept> want(N * K);
    for (std::size_t i = 0; i < N * K; ++i) want[i] = {displacement[i], first[i], second[i], score[i]};
    int finite = 0;
    const SearchUpdateOuterArgs args{check::type_of<T>, c.M, c.N, c.K, dy.data(), x.data(), scale, step, theta.data(),
                                     displacement.data(), c.adam ? first.data() : nullptr, c.adam ? second.data() : nullptr,
                                     score.data(), c.within ? allowed.data() : nullptr, &finite, bytes ? scratch.data() : nullptr,
                                     arrived.data()};
    const auto compare = [&](const char* what) {
      for (std::size_t i = 0; i < N * K; ++i)
        check::expect(same(displacement[i], want[i].displacement) && same(score[i], want[i].score) &&
                          same(first[i], want[i].first) && same(second[i], want[i].second),
                      std::string(what) + ", weight " + std::to_string(i));
      check::expect(displacement.intact() && score.intact() && first.intact() && second.intact() && scratch.intact(), "guards");
      for (const int a : arrived) check::expect(a == 0, "counters are left as they were");
    };
    check::expect(search_update_outer(nullptr, args) == 0, "rc");
    compare("changed though the loss is not finite");
    finite = 1;
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t k = 0; k < K; ++k) {
        if (c.within && (allowed[n * words + k / 32] >> (k % 32) & 1) == 0) continue;
        float sum = 0;
        for (std::size_t m = 0; m < M; ++m) sum += dev::to_float(dy[m * N + n]) * dev::to_float(x[m * K + k]);
        want[n * K + k] = expected(step, want[n * K + k], dev::to_float(theta[n * K + k]), scale * sum);
      }
    check::expect(search_update_outer(nullptr, args) == 0, "rc");
    compare("differs");
  });
}

template <class T>
void gamma(std::size_t n, std::size_t off) {
  check::now = "gamma of " + std::to_string(n);
  Guarded<T> theta(check::normals<T>(n), off);
  Guarded<float> displacement(check::normals<float>(n, 1e-3f));
  displacement[n / 2] = 5e-4f;
  for (const float cut : {5e-4f, std::numeric_limits<float>::infinity()})
    for (const SearchView view : {SearchView::scale, SearchView::shut}) {
      Guarded<T> out(n);
      check::expect(search_gamma(nullptr, {check::type_of<T>, view, static_cast<std::int64_t>(n), theta.data(), displacement.data(),
                                           view == SearchView::shut ? &cut : nullptr, out.data()}) == 0, "rc");
      check::expect(out.intact(), "wrote outside");
      for (std::size_t i = 0; i < n; ++i) {
        const float t = dev::to_float(theta[i]), d = displacement[i];
        const float want = view == SearchView::shut ? (d >= cut ? 0 : t) : dev::to_float(dev::from_float<T>(-(d * t)));
        check::expect(dev::to_float(out[i]) == want, "gamma[" + std::to_string(i) + "]");
      }
    }
}

void highest(const std::vector<std::vector<float>>& tensors) {
  std::vector<const float*> values;
  std::vector<std::int64_t> sizes;
  std::vector<float> positive;
  for (const std::vector<float>& tensor : tensors) {
    values.push_back(tensor.data());
    sizes.push_back(static_cast<std::int64_t>(tensor.size()));
    for (const float v : tensor)
      if (v > 0) positive.push_back(v);
  }
  std::sort(positive.begin(), positive.end(), std::greater<>());
  Guarded<std::uint32_t> scratch(kSearchHighestScratch / 4);
  const std::size_t all = positive.size();
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, all / 3, all - 1, all, all + 1, all * 10 + 7}) {
    if (static_cast<std::int64_t>(count) < 0) continue;
    check::now = "highest, " + std::to_string(count) + " of " + std::to_string(all);
    const float want = count == 0 || all == 0 ? std::numeric_limits<float>::infinity() : positive[std::min(count, all) - 1];
    Guarded<float> result(1);
    check::expect(search_highest(nullptr, {static_cast<std::int64_t>(tensors.size()), values.data(), sizes.data(),
                                           static_cast<std::int64_t>(count), scratch.data(), result.data()}) == 0, "rc");
    check::expect(result[0] == want, "is " + std::to_string(result[0]) + ", not " + std::to_string(want));
    check::expect(result.intact() && scratch.intact(), "wrote outside");
  }
}

}  // namespace

int main() {
  update<dev::half>({77, 72, 40, true, false, true, false, 0});
  update<dev::bf16>({600, 40, 72, true, false, false, true, 0});   // split over tokens
  update<dev::half>({5, 21, 45, true, true, true, true, 0});       // rows of no multiple of 8
  update<dev::bf16>({530, 16, 24, false, true, true, false, 1});   // not aligned, split
  update<dev::half>({33, 8, 64, false, false, true, false, 0});
  update<dev::bf16>({33, 1000, 1000, true, true, false, true, 0});  // large tiles

  gamma<dev::half>(1000, 0);
  gamma<dev::bf16>(1003, 1);
  gamma<dev::bf16>(1, 0);

  highest({check::normals<float>(3000, 1e-3f), check::normals<float>(1), check::normals<float>(77, 100)});
  highest({std::vector<float>(40, 0.0f), std::vector<float>(3, -1.0f)});
  highest({std::vector<float>(300, 0.25f), std::vector<float>{0.5f, 0.0f, -0.25f}});
  highest({{0x1p-149f, 1e-38f, 3e38f, 1.0f, std::nextafter(1.0f, 2.0f), std::nextafter(1.0f, 0.0f)}});
  std::vector<std::vector<float>> many;
  for (int i = 0; i < 70; ++i) many.push_back(check::normals<float>(static_cast<std::size_t>(1 + i * 7 % 90)));
  many.push_back(check::normals<float>(20000));
  highest(many);
  return check::done();
}
