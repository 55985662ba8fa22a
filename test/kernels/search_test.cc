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

/// A weight's place in the order of csrc/device/ranking.h, told in doubles: higher goes first.
struct Rank {
  double value, second;
  std::int64_t place;
  bool operator<(const Rank& other) const {
    return value != other.value ? value > other.value : second != other.second ? second > other.second : place < other.place;
  }
};
double in_whole_steps(float value, float per_step) {
  return per_step > 0 && value > 0 ? std::max(0.25, std::nearbyint(static_cast<double>(value * per_step))) : static_cast<double>(value);
}

template <class T>
void gamma(std::size_t n, std::size_t off) {
  Guarded<T> theta(check::normals<T>(n), off);
  Guarded<float> displacement(check::normals<float>(n, 1e-3f)), score(check::normals<float>(n));
  for (std::size_t i = 0; i < n; i += 3) displacement[i] = 5e-4f;
  for (std::size_t i = 0; i < n; i += 2) score[i] = 0.5f;
  displacement[n / 2] = 5e-4f;
  score[n / 2] = 0.5f;
  const std::int64_t first = 1000;
  for (const float per_step : {0.0f, 8192.0f}) {
    check::now = "gamma of " + std::to_string(n) + ", " + std::to_string(per_step);
    const Rank cut{in_whole_steps(5e-4f, per_step), 0.5, first + static_cast<std::int64_t>(n / 2)};
    const std::uint32_t last[3] = {value_word(5e-4f, per_step), second_word(0.5f), place_word(cut.place)}, none[3] = {~0u, ~0u, ~0u};
    for (const std::uint32_t* key : {static_cast<const std::uint32_t*>(nullptr), last, none}) {
      Guarded<T> out(n);
      check::expect(search_gamma(nullptr, {check::type_of<T>, key ? SearchView::shut : SearchView::scale, static_cast<std::int64_t>(n),
                                           theta.data(), displacement.data(), key ? score.data() : nullptr, key, per_step, first,
                                           out.data()}) == 0, "rc");
      check::expect(out.intact(), "wrote outside");
      for (std::size_t i = 0; i < n; ++i) {
        const float t = dev::to_float(theta[i]), d = displacement[i];
        const Rank own{in_whole_steps(d, per_step), static_cast<double>(score[i]), first + static_cast<std::int64_t>(i)};
        const bool shut = key == last && !(cut < own);
        const float want = key ? (shut ? 0 : t) : dev::to_float(dev::from_float<T>(-(d * t)));
        check::expect(dev::to_float(out[i]) == want, "gamma[" + std::to_string(i) + "]");
      }
    }
  }
}

void highest(const std::vector<std::vector<float>>& tensors, float per_step = 0, bool with_seconds = true) {
  std::vector<std::vector<float>> scores;
  std::vector<const float*> values, seconds;
  std::vector<std::int64_t> sizes, firsts;
  std::vector<Rank> positive;
  std::int64_t first = 3;
  for (const std::vector<float>& tensor : tensors) {
    std::vector<float>& score = scores.emplace_back(check::normals<float>(tensor.size()));
    for (std::size_t i = 0; i < score.size(); i += 2) score[i] = -0.75f;
    values.push_back(tensor.data());
    sizes.push_back(static_cast<std::int64_t>(tensor.size()));
    firsts.push_back(first);
    for (std::size_t i = 0; i < tensor.size(); ++i)
      if (tensor[i] > 0)
        positive.push_back({in_whole_steps(tensor[i], per_step), with_seconds ? static_cast<double>(score[i]) : 0, first + static_cast<std::int64_t>(i)});
    first += static_cast<std::int64_t>(tensor.size());
  }
  for (const std::vector<float>& score : scores) seconds.push_back(with_seconds ? score.data() : nullptr);
  std::sort(positive.begin(), positive.end());
  Guarded<std::uint32_t> scratch(kSearchHighestScratch / 4);
  const std::size_t all = positive.size();
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, all / 3, all / 2, all - 1, all, all + 1, all * 10 + 7}) {
    if (static_cast<std::int64_t>(count) < 0) continue;
    check::now = "highest, " + std::to_string(count) + " of " + std::to_string(all);
    Guarded<std::uint32_t> key(3);
    check::expect(search_highest(nullptr, {static_cast<std::int64_t>(tensors.size()), values.data(), seconds.data(), sizes.data(),
                                           firsts.data(), per_step, static_cast<std::int64_t>(count), scratch.data(), key.data()}) == 0, "rc");
    check::expect(key.intact() && scratch.intact(), "wrote outside");
    std::vector<Rank> chosen;
    for (std::size_t t = 0; t < tensors.size(); ++t)
      for (std::size_t i = 0; i < tensors[t].size(); ++i) {
        const float second = with_seconds ? scores[t][i] : 0;
        const std::uint32_t words[3] = {value_word(tensors[t][i], per_step), with_seconds ? second_word(second) : 0,
                                        place_word(firsts[t] + static_cast<std::int64_t>(i))};
        if (words[0] > 0 && !std::lexicographical_compare(words, words + 3, key.data(), key.data() + 3))
          chosen.push_back({in_whole_steps(tensors[t][i], per_step), static_cast<double>(second), firsts[t] + static_cast<std::int64_t>(i)});
      }
    std::sort(chosen.begin(), chosen.end());
    check::expect(chosen.size() == std::min(count, all), std::to_string(chosen.size()) + " are chosen");
    for (std::size_t i = 0; i < chosen.size() && i < all; ++i)
      check::expect(chosen[i].place == positive[i].place, "the " + std::to_string(i) + "-th is another");
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
  for (const bool with_seconds : {true, false}) highest({std::vector<float>(300, 0.25f), std::vector<float>{0.5f, 0.0f, -0.25f}}, 0, with_seconds);
  highest({check::normals<float>(3000), check::normals<float>(500)}, 16);  // many in one step
  highest({std::vector<float>(70000, 0.5f)}, 3);
  highest({{0x1p-149f, 1e-38f, 3e38f, 1.0f, std::nextafter(1.0f, 2.0f), std::nextafter(1.0f, 0.0f)}});
  std::vector<std::vector<float>> many;
  for (int i = 0; i < 70; ++i) many.push_back(check::normals<float>(static_cast<std::size_t>(1 + i * 7 % 90)));
  many.push_back(check::normals<float>(20000));
  highest(many);
  return check::done();
}
