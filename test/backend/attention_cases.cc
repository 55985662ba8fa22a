// Attention. With p the probabilities, s = scale·q·k the scores and D = max over queries and keys of the error of a score,
// 4·√d·2⁻²⁴·scale·Σ|q||k|, every p is off by a factor of at most 1 + 2·D (its own score's error and the sum's), on either side.
//
// Forward: out = Σ p v. p is rounded to 16 bits: u·Σ p|v| ≤ u·max|v|; the scores: 2·2·D·max|v|; the sum: 4·√S·2⁻²⁴·max|v|. Rounding
// p below fp16's normal range adds at most 2⁻²⁵ per key, relative to a largest p of 1.
// logsumexp (fp32): D on both sides, and 8·2⁻²⁴ of its own size for the logarithm.
//
// Backward, with dp = dy·v, delta = dy·out, ds = p (dp − delta): out and logsumexp are given, the same to both. e_p = u + 2·D (D with
// logsumexp's own fp32 rounding), e_g = 4·√d·2⁻²⁴·(Σ|dy||v| + Σ|dy||out|) is the error of dp − delta. Then
//   dv = Σ p dy          off by  e_p·Σ p|dy| + 4·√T·2⁻²⁴·Σ p|dy|
//   dq = scale·Σ ds k    off by  scale·Σ ((e_p + 4·√S·2⁻²⁴)·|ds| + p·e_g)·|k|,   dk likewise with q;
// ds in fp16 is kept in units of Σ|dy| (cuda/attention_gradient.cuh), below which 2⁻²⁵ may be lost per product: of its own query's
// unit in dq, of the largest query's in dk, whose sums go over queries.
#include <algorithm>
#include <cmath>

#include "case_table.h"

namespace cones::test {
namespace {

struct Attention {
  index_t batch, queries, keys, heads, dim;
  bool causal = false;
  double sharpness = 1;  // scale of q: scores of several units make p uneven

  index_t channels() const { return heads * dim; }
  AttentionOptions options() const { return {static_cast<int>(heads), causal}; }
  std::string name() const {
    return sizes({batch, queries, keys}) + ", " + std::to_string(heads) + " heads of " + std::to_string(dim) + (causal ? " causal" : "");
  }
};

using Values = std::vector<double>;
double largest(const Values& values) {
  return std::abs(std::ranges::max(values, {}, [](double v) { return std::abs(v); }));
}

/// The error of a score, at most: D.
double score_error(const Attention& c, const Values& q, const Values& k) {
  double most = 0;
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t h = 0; h < c.heads; ++h)
      for (index_t t = 0; t < c.queries; ++t)
        for (index_t s = 0; s < c.keys; ++s) {
          double sum = 0;
          for (index_t i = h * c.dim; i < (h + 1) * c.dim; ++i)
            sum += std::abs(q[at((b * c.queries + t) * c.channels() + i)] * k[at((b * c.keys + s) * c.channels() + i)]);
          most = std::max(most, sum);
        }
  return 4 * std::sqrt(static_cast<double>(c.dim)) * 0x1p-24 * most / std::sqrt(static_cast<double>(c.dim));
}

void forward(Run& run, const Attention& c) {
  const Tensor q = run.input({c.batch, c.queries, c.channels()}, {.scale = std::abs(c.sharpness), .rows = true});
  const Tensor k = run.input({c.batch, c.keys, c.channels()}, {.rows = true});
  const Tensor v = run.input({c.batch, c.keys, c.channels()}, {.rows = true});
  Tensor out, logsumexp;
  run.op([&] { out = run.backend().attention_forward(run.context(), q, k, v, c.options(), &logsumexp); });
  Tensor unasked;
  run.op([&] { unasked = run.backend().attention_forward(run.context(), q, k, v, c.options(), nullptr); });
  const auto bound = [&] {
    const double d = score_error(c, run.values(q), run.values(k)), keys = static_cast<double>(c.keys);
    const double top = largest(run.values(v));
    return Values(at(out.size()), top * (run.unit() + 4 * d + 4 * std::sqrt(keys) * 0x1p-24 + keys * 0x1p-25));
  };
  run.check("out", out, {.rows = true, .more = bound});
  run.check("out without logsumexp", unasked, {.rows = true, .more = bound});
  run.check("logsumexp", logsumexp, {.rows = true, .more = [&] {
                                       const double d = score_error(c, run.values(q), run.values(k));
                                       Values bounds = run.values(logsumexp);
                                       for (double& value : bounds) value = 2 * d + 8 * 0x1p-24 * (1 + std::abs(value));
                                       return bounds;
                                     }});
}

struct Bounds {
  Values dq, dk, dv;
};

Bounds backward_bounds(Run& run, const Attention& c, const Values& dy, const Values& q, const Values& k, const Values& v,
                       const Values& out, const Values& logsumexp) {
  Bounds most{Values(q.size()), Values(k.size()), Values(v.size())};
  const double scale = 1 / std::sqrt(static_cast<double>(c.dim)), depth = 4 * std::sqrt(static_cast<double>(c.dim)) * 0x1p-24;
  const double over_queries = 4 * std::sqrt(static_cast<double>(c.queries)) * 0x1p-24;
  const double over_keys = 4 * std::sqrt(static_cast<double>(c.keys)) * 0x1p-24;
  const double e_p = run.unit() + 2 * score_error(c, q, k) + 8 * 0x1p-24 * (1 + largest(logsumexp));
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t h = 0; h < c.heads; ++h) {
      double largest_unit = 0;
      for (index_t t = 0; t < c.queries; ++t) {
        double unit = 0;
        for (index_t i = 0; i < c.dim; ++i) unit += std::abs(dy[at((b * c.queries + t) * c.channels() + h * c.dim + i)]);
        largest_unit = std::max(largest_unit, unit);
      }
      for (index_t t = 0; t < c.queries; ++t) {
        const std::size_t of_q = at((b * c.queries + t) * c.channels() + h * c.dim);
        double delta = 0, delta_magnitude = 0, unit = 0;
        for (std::size_t i = 0; i < at(c.dim); ++i) {
          delta += dy[of_q + i] * out[of_q + i];
          delta_magnitude += std::abs(dy[of_q + i] * out[of_q + i]);
          unit += std::abs(dy[of_q + i]);
        }
        for (index_t s = 0; s < (c.causal ? t + 1 : c.keys); ++s) {
          const std::size_t of_k = at((b * c.keys + s) * c.channels() + h * c.dim);
          double score = 0, dp = 0, dp_magnitude = 0;
          for (std::size_t i = 0; i < at(c.dim); ++i) {
            score += q[of_q + i] * k[of_k + i];
            dp += dy[of_q + i] * v[of_k + i];
            dp_magnitude += std::abs(dy[of_q + i] * v[of_k + i]);
          }
          const double p = std::exp(scale * score - logsumexp[at((b * c.heads + h) * c.queries + t)]);
          const double ds = p * std::abs(dp - delta), lost = p * depth * (dp_magnitude + delta_magnitude);
          for (std::size_t i = 0; i < at(c.dim); ++i) {
            most.dq[of_q + i] += scale * ((e_p + over_keys) * ds + lost + 0x1p-25 * unit) * std::abs(k[of_k + i]);
            most.dk[of_k + i] += scale * ((e_p + over_queries) * ds + lost + 0x1p-25 * largest_unit) * std::abs(q[of_q + i]);
            most.dv[of_k + i] += ((e_p + over_queries) * p + 0x1p-25) * std::abs(dy[of_q + i]);
          }
        }
      }
    }
  return most;
}

void backward(Run& run, const Attention& c) {
  const Tensor q = run.input({c.batch, c.queries, c.channels()}, {.scale = std::abs(c.sharpness), .rows = true});
  const Tensor k = run.input({c.batch, c.keys, c.channels()}, {.rows = true});
  const Tensor v = run.input({c.batch, c.keys, c.channels()}, {.rows = true});
  const Tensor dy = run.input(q.shape().with_first(c.batch), {.scale = 0.1, .rows = true, .gradient = true});
  const Values q_values = run.values(q), k_values = run.values(k), v_values = run.values(v);
  // out and logsumexp in fp64 from the values themselves.
  const index_t batch = q.dim(0);
  std::vector<float> outs(at(q.size())), sums(at(batch * c.heads * c.queries));
  for (index_t b = 0; b < batch && !q_values.empty(); ++b)
    for (index_t h = 0; h < c.heads; ++h)
      for (index_t t = 0; t < c.queries; ++t) {
        const std::size_t of_q = at((b * c.queries + t) * c.channels() + h * c.dim);
        Values sum(at(c.dim) + 1);
        for (index_t s = 0; s < (c.causal ? t + 1 : c.keys); ++s) {
          const std::size_t of_k = at((b * c.keys + s) * c.channels() + h * c.dim);
          double score = 0;
          for (std::size_t i = 0; i < at(c.dim); ++i) score += q_values[of_q + i] * k_values[of_k + i];
          const double p = std::exp(score / std::sqrt(static_cast<double>(c.dim)));
          sum.back() += p;
          for (std::size_t i = 0; i < at(c.dim); ++i) sum[i] += p * v_values[of_k + i];
        }
        sums[at((b * c.heads + h) * c.queries + t)] = static_cast<float>(std::log(sum.back()));
        for (std::size_t i = 0; i < at(c.dim); ++i) outs[of_q + i] = static_cast<float>(sum[i] / sum.back());
      }
  const Tensor out = run.given(outs, q.shape());
  const Tensor logsumexp = run.given(sums, {batch, c.heads, c.queries}, {.dtype = DType::f32});
  const auto bound = [&](Values Bounds::*which) {
    return [&, which] {
      return backward_bounds(run, c, run.values(dy), q_values, k_values, v_values, run.values(out), run.values(logsumexp)).*which;
    };
  };
  Tensor dq, dk, dv;
  const auto call = [&](Tensor* to_q, Tensor* to_k, Tensor* to_v) {
    run.op([&] { run.backend().attention_backward(run.context(), dy, q, k, v, out, logsumexp, c.options(), to_q, to_k, to_v); });
    if (to_q) run.check("dq", dq, {.rows = true, .gradient = true, .more = bound(&Bounds::dq)});
    if (to_k) run.check("dk", dk, {.rows = true, .gradient = true, .more = bound(&Bounds::dk)});
    if (to_v) run.check("dv", dv, {.rows = true, .gradient = true, .more = bound(&Bounds::dv)});
  };
  call(&dq, &dk, &dv);
  if (c.queries > 20) return;
  call(&dq, nullptr, nullptr);
  call(nullptr, &dk, nullptr);
  call(nullptr, nullptr, &dv);
}

}  // namespace

void attention_cases(Table& table) {
  for (const Attention& c : std::initializer_list<Attention>{{1, 1, 1, 1, 1},
                                                             {2, 3, 5, 1, 3},
                                                             {2, 17, 77, 3, 5, false, 4},
                                                             {2, 70, 70, 2, 40, false, 3},
                                                             {2, 77, 77, 2, 24, true, 2},
                                                             {2, 13, 13, 1, 64, true},
                                                             {2, 64, 65, 1, 80},
                                                             {1, 600, 7, 1, 8},          // so few keys: sums over queries in parts
                                                             {1, 19, 33, 2, 160},
                                                             {2, 10, 9, 1, 168, false, 2},  // wider than one pass
                                                             {1, 66, 66, 1, 512, true}}) {
    table.add("attention_forward " + c.name(), [c](Run& run) { forward(run, c); });
    table.add("attention_backward " + c.name(), [c](Run& run) { backward(run, c); });
  }
}

}  // namespace cones::test
