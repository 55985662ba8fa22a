// Linear layers, K-V projections under masks, and weight gradients. All are sums of products: 4·√terms·2⁻²⁴·Σ|a||b|, where a bias, a
// residual or what the gradient is so far is one term more.
#include <array>
#include <cmath>
#include <cstring>

#include "case_table.h"

namespace cones::test {
namespace {

const char* name_of(DType dtype) { return dtype == DType::f32 ? "f32" : dtype == DType::f16 ? "f16" : "bf16"; }

/// a [M, K] times the transpose of b [N, K], each value by its magnitude: Σ|a||b|.
std::vector<double> magnitudes(const std::vector<double>& a, const std::vector<double>& b, index_t m, index_t n, index_t k) {
  std::vector<double> sums(at(m * n));
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j)
      for (index_t c = 0; c < k; ++c) sums[at(i * n + j)] += std::abs(a[at(i * k + c)] * b[at(j * k + c)]);
  return sums;
}

struct Linear {
  index_t rows, tokens, n, k;
  DType stored = DType::f16;
  bool bias = false, residual = false, wide = false, convolution = false;
};

void linear_forward(Run& run, const Linear& c) {
  const Parameter& weight = run.weight(c.convolution ? Shape{c.n, c.k, 1, 1} : Shape{c.n, c.k}, c.stored);
  const Parameter& bias = run.weight({c.n}, c.stored);
  const PreparedRef prepared = run.backend().prepare_linear(run.context(), weight, c.bias ? &bias : nullptr);
  const Tensor x = run.input({c.rows, c.tokens, c.k}, {.rows = true});
  const DType dtype = c.wide ? DType::f32 : run.backend().activation();
  const Tensor residual = c.residual ? run.input({c.rows, c.tokens, c.n}, {.rows = true}) : Tensor();
  Tensor y;
  run.op([&] { y = run.backend().linear_forward(run.context(), x, *prepared, c.n, c.residual ? &residual : nullptr, dtype); });
  run.check("y", y, {.terms = static_cast<double>(c.k) + 2, .rows = true});
}

void linear_backward_input(Run& run, const Linear& c) {
  const PreparedRef prepared = run.backend().prepare_linear(run.context(), run.weight({c.n, c.k}, c.stored), nullptr);
  const Tensor dy = run.input({c.rows, c.tokens, c.n}, {.scale = 0.1, .rows = true, .gradient = true});
  const Tensor onto = c.residual ? run.input({c.rows, c.tokens, c.k}, {.scale = 0.1, .rows = true, .gradient = true}) : Tensor();
  Tensor dx;
  run.op([&] { dx = run.backend().linear_backward_input(run.context(), dy, *prepared, c.k, onto); });
  run.check("dx", dx, {.terms = static_cast<double>(c.n) + 1, .rows = true, .gradient = true});
}

/// A backend's 16 bits are the nearest to what the file has: the columns of W, picked out one by one.
void prepare(Run& run, index_t n, index_t k, DType stored, bool convolution) {
  const Parameter& weight = run.weight(convolution ? Shape{n, k, 1, 1} : Shape{n, k}, stored, 1, false);
  std::vector<float> identity(at(k * k));
  for (index_t i = 0; i < k; ++i) identity[at(i * k + i)] = 1;
  const Tensor x = run.given(identity, convolution ? Shape{k, 1, 1, k} : Shape{k, k});
  PreparedRef prepared;
  if (convolution) {
    run.op([&] { prepared = run.backend().prepare_conv2d(run.context(), weight, nullptr); });
    run.check("W", run.backend().conv2d_forward(run.context(), x, *prepared, {}, {k, 1, 1, n}, nullptr, nullptr, DType::f32),
              {.exact = true});
    return;
  }
  prepared = run.backend().prepare_linear(run.context(), weight, nullptr);  // needs no kernel where the file has its type
  Tensor y;
  run.op([&] { y = run.backend().linear_forward(run.context(), x, *prepared, n, nullptr, DType::f32); });
  run.check("W", y, {.exact = true});
}

enum class Kv { base, masks, shut, scale };

struct Project {
  index_t rows, tokens, n, k;
  Kv kind;
};

/// What a K-V projection reads, with all that it refers to.
struct KvCase {
  KvOperand operand;
  PreparedRef weights, gamma;
  std::vector<PreparedRef> masks;
  std::vector<const Prepared*> of_rows;
  SearchState state;
  Tensor theta;

  KvCase(Run& run, const Project& c) {
    const Context& context = run.context();
    const Parameter& weight = run.weight({c.n, c.k});
    weights = run.backend().prepare_linear(context, weight, nullptr);
    operand.weights = weights.get();
    if (c.kind == Kv::masks) {
      // None; every third weight; a whole row and the last weight; all but one.
      const auto size = static_cast<std::uint32_t>(c.n * c.k);
      std::vector<std::uint32_t> third, edges, most;
      for (std::uint32_t i = 0; i < size; i += 3) third.push_back(i);
      for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(c.k) && i + 1 < size; ++i) edges.push_back(i);
      edges.push_back(size - 1);
      for (std::uint32_t i = 1; i < size; ++i) most.push_back(i);
      for (const auto& zeroed : {third, edges, most}) masks.push_back(run.backend().prepare_mask(context, c.n, c.k, zeroed));
      std::vector<int> which(at(c.rows));
      for (std::size_t b = 0; b < which.size(); ++b) which[b] = static_cast<int>((b * 5 + 3) / 2 % 4);
      for (const int i : run.pick(which)) of_rows.push_back(i == 0 ? nullptr : masks[at(i - 1)].get());
      operand.masks = of_rows;
    }
    if (c.kind == Kv::shut || c.kind == Kv::scale) {
      // Displacements of many sizes, some of which are the cut itself.
      std::vector<float> displacement(at(c.n * c.k));
      for (std::size_t i = 0; i < displacement.size(); ++i)
        displacement[i] = i % 7 == 0 ? 0.25f : static_cast<float>(i % 13) * static_cast<float>(i % 5) / 48.0f * (i % 3 == 0 ? 1e-3f : 1);
      state.weights = weights;
      state.theta = theta = run.backend().search_theta(context, weight, weights);
      state.displacement = run.given(displacement, {c.n, c.k}, {.dtype = DType::f32});
      // Those of the cut's displacement go by their score, and of one score by their place.
      std::vector<float> scores(displacement.size());
      for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(i % 4) - 1.5f;
      state.score = run.given(scores, {c.n, c.k}, {.dtype = DType::f32});
      state.first = 7;
      const RankKey last{value_word(0.25f, 0), second_word(0.5f), place_word(7 + c.n * c.k / 2)};
      std::vector<float> words(3);
      std::memcpy(words.data(), last.data(), sizeof last);
      const SearchCut cut{run.given(words, {3}, {.dtype = DType::f32}), 0};
      run.op([&] { gamma = run.backend().search_gamma(context, state, c.kind == Kv::shut ? &cut : nullptr); });
      operand.gamma = gamma.get();
    }
  }

  /// γ = θ − (1 − ξ) ⊙ θ in two matrices: the second is rounded to 16 bits, u·|1 − ξ||θ| (and half a subnormal), and adds its terms.
  std::vector<double> of_two_matrices(Run& run, double terms) const {
    std::vector<double> bound = run.values(theta);
    const std::vector<double> d = run.values(state.displacement);
    for (std::size_t i = 0; i < bound.size(); ++i)
      bound[i] = std::abs(bound[i]) * (run.unit() * d[i] + 4 * std::sqrt(2 * terms) * 0x1p-24 * (1 + d[i])) + 0x1p-25;
    return bound;
  }
};

void kv_project_forward(Run& run, const Project& c) {
  const KvCase kv(run, c);
  const Tensor x = run.input({c.rows, c.tokens, c.k}, {.rows = true});
  Tensor y;
  run.op([&] { y = run.backend().kv_project_forward(run.context(), x, kv.operand, c.n); });
  Check check{.terms = static_cast<double>(c.k), .rows = true};
  if (c.kind == Kv::scale)
    check.more = [&] {
      return magnitudes(run.values(x), kv.of_two_matrices(run, check.terms), c.rows * c.tokens, c.n, c.k);
    };
  run.check("y", y, check);
}

void kv_project_backward_input(Run& run, const Project& c, bool onto) {
  const KvCase kv(run, c);
  const Tensor dy = run.input({c.rows, c.tokens, c.n}, {.scale = 0.1, .rows = true, .gradient = true});
  const Tensor so_far = onto ? run.input({c.rows, c.tokens, c.k}, {.scale = 0.1, .rows = true, .gradient = true}) : Tensor();
  Tensor dx;
  run.op([&] { dx = run.backend().kv_project_backward_input(run.context(), dy, kv.operand, c.k, so_far); });
  Check check{.terms = static_cast<double>(c.n) + 1, .rows = true, .gradient = true};
  if (c.kind == Kv::scale)
    check.more = [&] {
      const std::vector<double> bound = kv.of_two_matrices(run, check.terms);
      std::vector<double> transposed(bound.size());
      for (index_t n = 0; n < c.n; ++n)
        for (index_t k = 0; k < c.k; ++k) transposed[at(k * c.n + n)] = bound[at(n * c.k + k)];
      return magnitudes(run.values(dy), transposed, c.rows * c.tokens, c.k, c.n);
    };
  run.check("dx", dx, check);
}

void outer(Run& run, index_t m, index_t n, index_t k) {
  const Tensor x = run.input({m, k}), dy = run.input({m, n}, {.scale = 0.1, .gradient = true});
  Tensor dw;
  run.op([&] { dw = run.backend().outer(run.context(), dy, x); });
  run.check("dW", dw, {.terms = static_cast<double>(m)});
}

void column_sums(Run& run, index_t groups, index_t rows, index_t n) {
  const Tensor x = run.input({groups, rows, n}, {.scale = 0.1, .rows = true, .gradient = true});
  Tensor sums, bias;
  run.op([&] { sums = run.backend().column_sums(run.context(), x, rows); });
  run.op([&] { bias = run.backend().bias_gradient(run.context(), x); });
  run.check("sums", sums, {.terms = static_cast<double>(rows), .rows = true, .gradient = true});
  run.check("bias", bias, {.terms = static_cast<double>(rows * groups)});
}

}  // namespace

void products_cases(Table& table) {
  const DType f32 = DType::f32, f16 = DType::f16, bf16 = DType::bf16;
  for (const Linear& c : std::initializer_list<Linear>{{1, 1, 1, 1, f32},
                                                       {3, 1, 5, 7, f16, true},
                                                       {2, 35, 129, 33, bf16, true, true},
                                                       {2, 64, 64, 64, f16, false, true, true},
                                                       {3, 5, 320, 72, f32, true, false, true},
                                                       {2, 65, 40, 136, f16, true, true, false, true},
                                                       {3, 3, 9, 320, bf16, false, false, false, true}})
    table.add("linear_forward " + sizes({c.rows, c.tokens, c.k}) + " to " + std::to_string(c.n) + " " + name_of(c.stored) +
                  (c.bias ? " +bias" : "") + (c.residual ? " +residual" : "") + (c.wide ? " to fp32" : "") +
                  (c.convolution ? " 1x1" : ""),
              [c](Run& run) { linear_forward(run, c); });
  for (const Linear& c : std::initializer_list<Linear>{{1, 1, 1, 1, f32}, {3, 1, 5, 7}, {2, 35, 129, 33, bf16, false, true},
                                                       {2, 64, 64, 64, f16, false, true}, {3, 5, 320, 72, f32}})
    table.add("linear_backward_input " + sizes({c.rows, c.tokens, c.n}) + " to " + std::to_string(c.k) + (c.residual ? " +onto" : ""),
              [c](Run& run) { linear_backward_input(run, c); });
  for (const DType stored : {f32, f16, bf16}) {
    table.add(std::string("prepare_linear of ") + name_of(stored), [stored](Run& run) { prepare(run, 37, 19, stored, false); });
    table.add(std::string("prepare_conv2d of ") + name_of(stored), [stored](Run& run) { prepare(run, 37, 19, stored, true); });
  }
  for (const Project& c : std::initializer_list<Project>{{1, 1, 1, 1, Kv::masks},
                                                         {2, 7, 40, 24, Kv::base},
                                                         {5, 13, 33, 35, Kv::masks},
                                                         {3, 77, 72, 64, Kv::masks},
                                                         {70, 1, 9, 17, Kv::masks},
                                                         {130, 3, 16, 8, Kv::masks},
                                                         {2, 9, 33, 35, Kv::shut},
                                                         {2, 70, 40, 64, Kv::shut},
                                                         {2, 9, 33, 35, Kv::scale},
                                                         {2, 70, 40, 64, Kv::scale}}) {
    const std::string kind = c.kind == Kv::base ? "" : c.kind == Kv::masks ? " masked" : c.kind == Kv::shut ? " shut" : " scaled";
    const std::string size = sizes({c.rows, c.tokens}) + " " + sizes({c.n, c.k}) + kind;
    table.add("kv_project_forward " + size, [c](Run& run) { kv_project_forward(run, c); });
    table.add("kv_project_backward_input " + size, [c](Run& run) { kv_project_backward_input(run, c, c.tokens % 2 == 1); });
  }
  for (const auto& [m, n, k] : std::initializer_list<std::array<index_t, 3>>{
           {1, 1, 1}, {5, 3, 7}, {70, 33, 129}, {64, 64, 64}, {1500, 9, 40}, {308, 72, 136}})
    table.add("outer " + sizes({m, n, k}), [=](Run& run) { outer(run, m, n, k); });
  for (const auto& [g, r, n] : std::initializer_list<std::array<index_t, 3>>{{1, 1, 1}, {3, 5, 7}, {2, 64, 64}, {3, 1100, 33}, {70, 3, 320}})
    table.add("column_sums " + sizes({g, r, n}), [=](Run& run) { column_sums(run, g, r, n); });
}

}  // namespace cones::test
