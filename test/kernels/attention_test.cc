// Attention of cuda/ against its definition in fp64, on the emulated GPU.
//
// Tolerances, u = 2⁻¹¹ (f16) or 2⁻⁸ (bf16), every sum of K products in fp32 having 4·√K·2⁻²⁴·Σ|a||b|:
//   e   relative error of a probability in fp32: that of its score (a sum of d products), of the score's scaling, of exp2
//   out u·|out| + (u + 2e)·Σ p|v|: probabilities are rounded for the product. f16 adds 2⁻²⁵·max p·Σ|v|, its subnormals, for p is
//       rounded in units of the largest.
//   dv  u·|dv| + Σ (u + e) p|dy| + 2⁻²⁵ Σ|dy|
//   ds  fp32: e·|ds| + p (error of g + error of delta); rounded for the product: u·|ds| + 2⁻²⁵·unit, where unit ≤ Σ_c|dy| of the
//       query for dq, of the largest query for dk
//   dq  u·|dq| + scale·Σ error of ds·|k|, and dk the same with q
// Backward takes out and logsumexp as they are, so their own errors do not enter.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "attention_problem.h"

using namespace cones::cuda;

namespace {

bool failed = false;
void expect(bool right, const char* what, const Case& c) {
  if (right) return;
  failed = true;
  std::printf("FAILED: %s at B %d heads %d d %d T %d S %d%s%s\n", what, c.batch, c.heads, c.dim, c.queries, c.keys,
              c.causal ? " causal" : "", c.odd ? " odd" : "");
}

double worst = 0;  // error over tolerance
bool close(double got, double want, double tolerance) {
  const double ratio = std::abs(got - want) / tolerance;
  if (ratio > worst) worst = ratio;
  return ratio <= 1;  // false for NaN
}

constexpr double kUlp = 0x1p-24;
double rounding(std::size_t count) { return 4 * std::sqrt(double(count)) * kUlp; }

template <class T>
void check(Problem<T>& p) {
  const Case& c = p.c;
  const std::size_t n_q = c.queries, n_k = c.keys, d = c.dim;
  const double u = Problem<T>::kHalf ? 0x1p-11 : 0x1p-8, least = Problem<T>::kHalf ? 0x1p-25 : 0;
  const double scale = 1 / std::sqrt(double(d));
  bool out_right = true, sum_right = true, dq_right = true, dk_right = true, dv_right = true;
  for (std::size_t b = 0; b < std::size_t(c.batch); ++b)
    for (std::size_t h = 0; h < std::size_t(c.heads); ++h) {
      const auto of_q = [&](std::size_t t, std::size_t i) { return (b * n_q + t) * p.channels + h * d + i; };
      const auto of_k = [&](std::size_t s, std::size_t i) { return (b * n_k + s) * p.channels + h * d + i; };
      std::vector<double> dk(n_k * d), dk_error(n_k * d), dk_size(n_k * d), dv(n_k * d), dv_error(n_k * d);
      double unit = 0;
      std::vector<double> units(n_q);
      for (std::size_t t = 0; t < n_q; ++t) {
        for (std::size_t i = 0; i < d; ++i) units[t] += std::abs(p.dy[of_q(t, i)]);
        unit = std::max(unit, units[t]);
      }
      for (std::size_t t = 0; t < n_q; ++t) {
        const std::size_t seen = c.causal ? t + 1 : n_k;
        std::vector<double> score(seen), e(seen);
        double top = -1e300, sum = 0;
        for (std::size_t s = 0; s < seen; ++s) {
          double x = 0, size = 0;
          for (std::size_t i = 0; i < d; ++i) {
            const double term = p.q[of_q(t, i)] * p.k[of_k(s, i)];
            x += term, size += std::abs(term);
          }
          score[s] = scale * x;
          e[s] = rounding(d) * scale * size + 4 * kUlp * std::abs(score[s]) + 8 * kUlp;
          top = std::max(top, score[s]);
        }
        for (std::size_t s = 0; s < seen; ++s) sum += std::exp(score[s] - top);
        double e_top = 0;
        for (std::size_t s = 0; s < seen; ++s) e_top = std::max(e_top, e[s]);
        const double logsumexp = top + std::log(sum);
        const std::size_t row = (b * std::size_t(c.heads) + h) * n_q + t;
        if (c.logsumexp)
          sum_right &= close(p.logsumexp[row], logsumexp, e_top + rounding(seen) + 8 * kUlp * (1 + std::abs(logsumexp)));
        for (std::size_t i = 0; i < d; ++i) {
          double o = 0, size = 0, values = 0;
          for (std::size_t s = 0; s < seen; ++s) {
            const double prob = std::exp(score[s] - logsumexp), value = p.v[of_k(s, i)];
            o += prob * value, size += prob * std::abs(value), values += std::abs(value);
          }
          out_right &= close(p.out[of_q(t, i)], o,
                             u * std::abs(o) + (u + 2 * e_top + rounding(seen)) * size + least * (values * std::exp(top - logsumexp) + 1));
        }
        if (!c.logsumexp || c.wanted == 0) continue;
        // Gradients, of out and logsumexp as they are.
        double delta = 0, delta_size = 0;
        for (std::size_t i = 0; i < d; ++i) {
          const double term = p.dy[of_q(t, i)] * p.out[of_q(t, i)];
          delta += term, delta_size += std::abs(term);
        }
        std::vector<double> dq(d), dq_error(d), dq_size(d);
        for (std::size_t s = 0; s < seen; ++s) {
          const double prob = std::exp(score[s] - p.logsumexp[row]), e_p = e[s] + 4 * kUlp * std::abs(p.logsumexp[row]);
          double g = 0, g_size = 0;
          for (std::size_t i = 0; i < d; ++i) {
            const double term = p.dy[of_q(t, i)] * p.v[of_k(s, i)];
            g += term, g_size += std::abs(term);
          }
          const double ds = prob * (g - delta);
          const double error = (e_p + u + 4 * kUlp) * std::abs(ds) + prob * rounding(d) * (g_size + delta_size);
          for (std::size_t i = 0; i < d; ++i) {
            const double key = p.k[of_k(s, i)], query = p.q[of_q(t, i)], grad = p.dy[of_q(t, i)];
            dq[i] += ds * key, dq_error[i] += (error + least * units[t]) * std::abs(key), dq_size[i] += std::abs(ds * key);
            dk[s * d + i] += ds * query, dk_error[s * d + i] += (error + least * unit) * std::abs(query);
            dk_size[s * d + i] += std::abs(ds * query);
            dv[s * d + i] += prob * grad;
            dv_error[s * d + i] += ((e_p + u + rounding(n_q)) * prob + least) * std::abs(grad);
          }
        }
        if (c.wanted & 1)
          for (std::size_t i = 0; i < d; ++i)
            dq_right &= close(p.dq[of_q(t, i)], scale * dq[i],
                              u * scale * std::abs(dq[i]) + scale * (dq_error[i] + rounding(seen) * dq_size[i]) + least);
      }
      for (std::size_t s = 0; s < n_k; ++s)
        for (std::size_t i = 0; i < d; ++i) {
          const std::size_t j = s * d + i;
          if (c.logsumexp && c.wanted & 2)
            dk_right &= close(p.dk[of_k(s, i)], scale * dk[j],
                              u * scale * std::abs(dk[j]) + scale * (dk_error[j] + rounding(n_q) * dk_size[j]) + least);
          if (c.logsumexp && c.wanted & 4) dv_right &= close(p.dv[of_k(s, i)], dv[j], u * std::abs(dv[j]) + dv_error[j] + least);
        }
    }
  expect(out_right, "out", c);
  expect(sum_right, "logsumexp", c);
  expect(dq_right, "dq", c);
  expect(dk_right, "dk", c);
  expect(dv_right, "dv", c);
}

template <class T>
void run(const Case& c, unsigned seed) {
  Problem<T> p(c);
  p.draw(seed);
  expect(p.forward(c.logsumexp) == 0, "forward's status", c);
  if (c.logsumexp) expect(p.backward() == 0, "backward's status", c);
  check(p);
  for (Buffer<T>* buffer : {&p.q, &p.k, &p.v, &p.out, &p.dy, &p.dq, &p.dk, &p.dv}) expect(buffer->guards_whole(), "guards", c);
  expect(p.logsumexp.guards_whole() && p.scratch.guards_whole(), "guards of floats", c);
  expect(c.logsumexp || p.logsumexp.untouched(), "unwanted logsumexp", c);
  for (int i = 0; i < 3; ++i)
    if (!c.logsumexp || !(c.wanted >> i & 1)) expect((i == 0 ? p.dq : i == 1 ? p.dk : p.dv).untouched(), "unwanted gradient", c);
}

/// The second sample of two by itself gives the same bits.
template <class T>
void alone(Case c) {
  c.batch = 2;
  Problem<T> both(c);
  both.draw(5);
  c.batch = 1;
  Problem<T> one(c);
  const auto copy = [](Buffer<T>& to, Buffer<T>& from) { std::memcpy(to.data(), from.data() + to.size(), to.size() * sizeof(T)); };
  copy(one.q, both.q), copy(one.k, both.k), copy(one.v, both.v), copy(one.dy, both.dy);
  expect(both.forward(true) == 0 && both.backward() == 0 && one.forward(true) == 0 && one.backward() == 0, "status", c);
  expect(both.out.equals(one.out, one.of_q) && both.dq.equals(one.dq, one.of_q) && both.dk.equals(one.dk, one.of_k) &&
             both.dv.equals(one.dv, one.of_k) && both.logsumexp.equals(one.logsumexp, one.of_rows),
         "a sample depends on its neighbour", c);
}

void invalid() {
  const Case c = {1, 2, 8, 5, 6};
  Problem<dev::half> p(c);
  p.c.causal = true;  // needs as many queries as keys
  expect(p.forward(true) == kInvalid && p.backward() == kInvalid, "invalid", c);
  p.c.causal = false, p.c.heads = 3;  // do not divide the channels
  expect(p.forward(true) == kInvalid && p.out.untouched(), "invalid heads", c);
}

}  // namespace

/// `all` runs every case in all ways, else types, copies and orders take turns; CONES_TEST_FIRST in the environment stops at the
/// first failure.
int main(int count, char** arguments) {
  const bool all = count > 1 && std::strcmp(arguments[1], "all") == 0, first = std::getenv("CONES_TEST_FIRST") != nullptr;
  const Case cases[] = {
      // batch, heads, d, T, S
      {2, 2, 40, 70, 77},
      {1, 3, 8, 65, 5},
      {1, 2, 12, 33, 130},
      {2, 1, 16, 1, 1},
      {1, 2, 64, 77, 77, true},
      {2, 1, 80, 65, 200},
      {1, 1, 160, 100, 130},
      {1, 1, 512, 40, 77},
      // tiles of all other widths, ragged in channels or not
      {1, 1, 30, 20, 70},
      {1, 1, 48, 64, 64},
      {1, 2, 88, 66, 70},
      {1, 1, 100, 40, 70},
      {1, 2, 128, 64, 65},
      {1, 1, 150, 20, 40},
      // causal, and no multiples of the tiles
      {1, 1, 40, 200, 200, true},
      {1, 1, 160, 130, 130, true},
      {1, 1, 168, 77, 77, true},
      {1, 2, 7, 1, 1, true},
      // wide heads: two slices with a rest; channels no multiple of 8; more samples and heads
      {1, 1, 300, 20, 70},
      {2, 2, 170, 10, 5},
      {1, 1, 1024, 3, 33},
      // dk and dv in parts
      {1, 2, 8, 520, 5},
      {2, 1, 40, 770, 1},
      {1, 1, 16, 1030, 77},
      {1, 1, 8, 2200, 1},  // the last of eight parts has no queries
      {1, 1, 168, 520, 3},
      // odd addresses
      {1, 2, 40, 9, 10, false, true},
      {1, 1, 176, 9, 10, false, true},
      {1, 1, 20, 520, 5, false, true},
      // small gradients, as real ones are
      {1, 1, 32, 40, 200, false, false, 0x1p-13},
      {1, 1, 200, 40, 100, false, false, 0x1p-13},
      // scores so low that a key that does not exist, with its score of 0, would outweigh all others
      {1, 1, 16, 20, 70, false, false, 1, 7, true, 6},
      {1, 1, 16, 70, 70, true, false, 1, 7, true, 6},
      {1, 1, 168, 20, 70, false, false, 1, 7, true, 4},
      // what is not wanted
      {1, 1, 24, 10, 20, false, false, 1, 7, false},
      {1, 1, 24, 10, 20, false, false, 1, 1},
      {1, 1, 24, 10, 20, false, false, 1, 2},
      {1, 1, 24, 10, 20, false, false, 1, 4},
      {1, 1, 24, 520, 20, false, false, 1, 2},
      {1, 1, 24, 520, 20, false, false, 1, 5},
      {1, 1, 192, 10, 20, false, false, 1, 2},
      {1, 1, 192, 10, 20, false, false, 1, 4},
      {1, 1, 192, 10, 20, false, false, 1, 0},
  };
  unsigned i = 0;
  for (const Case& c : cases) {
    for (unsigned way = 0; way < (all ? 4 : 2); ++way) {
      dev::lazy_copies = (way + i / 2) % 2 == 0;
      dev::order_seed = (way ^ i) % 2 != 0 ? 7 : 1234;
      dev::descending_blocks = (way ^ i) % 2 != 0;
      if ((all ? way / 2 : way ^ i) % 2 == 0) {
        run<dev::half>(c, i + 1);
      } else {
        run<dev::bf16>(c, i + 1);
      }
      if (failed && first) return 1;
    }
    ++i;
  }
  alone<dev::half>({2, 2, 40, 70, 77});
  alone<dev::bf16>({2, 1, 16, 520, 5});
  alone<dev::half>({2, 1, 200, 20, 10});
  invalid();
  std::printf("attention: %s, worst error %.2f of its tolerance\n", failed ? "FAILED" : "passed", worst);
  return failed ? 1 : 0;
}
