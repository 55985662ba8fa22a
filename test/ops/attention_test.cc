#include "ops/attention.h"

#include <cmath>
#include <cstring>

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

struct Case {
  index_t batch, queries, keys;
  int heads;
  index_t dim;
  bool causal = false;
  index_t channels() const { return heads * dim; }
  std::size_t q_size() const { return static_cast<std::size_t>(batch * queries * channels()); }
  std::size_t k_size() const { return static_cast<std::size_t>(batch * keys * channels()); }
};

struct Reference {
  std::vector<double> out, logsumexp;
};

Reference reference(const Case& c, const std::vector<double>& q, const std::vector<double>& k,
                    const std::vector<double>& v) {
  Reference r{std::vector<double>(c.q_size()), {}};
  const auto at = [&](index_t tokens, index_t b, index_t t, int h, index_t i) {
    return static_cast<std::size_t>((b * tokens + t) * c.channels() + h * c.dim + i);
  };
  for (index_t b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (index_t t = 0; t < c.queries; ++t) {
        const index_t visible = c.causal ? t + 1 : c.keys;
        std::vector<double> score(static_cast<std::size_t>(visible));
        double most = -INFINITY, sum = 0;
        for (index_t s = 0; s < visible; ++s) {
          double dot = 0;
          for (index_t i = 0; i < c.dim; ++i) dot += q[at(c.queries, b, t, h, i)] * k[at(c.keys, b, s, h, i)];
          score[static_cast<std::size_t>(s)] = dot / std::sqrt(static_cast<double>(c.dim));
          most = std::max(most, score[static_cast<std::size_t>(s)]);
        }
        for (double& s : score) sum += s = std::exp(s - most);
        for (index_t s = 0; s < visible; ++s)
          for (index_t i = 0; i < c.dim; ++i)
            r.out[at(c.queries, b, t, h, i)] += score[static_cast<std::size_t>(s)] / sum * v[at(c.keys, b, s, h, i)];
        r.logsumexp.push_back(most + std::log(sum));
      }
  return r;
}

struct Run {
  Tensor out, logsumexp, dq, dk, dv;
};

Run run(const Context& context, const Case& c, const std::vector<double>& q, const std::vector<double>& k,
        const std::vector<double>& v, const std::vector<double>& dy) {
  const AttentionOptions options{c.heads, c.causal};
  const Shape of_q{c.batch, c.queries, c.channels()}, of_k{c.batch, c.keys, c.channels()};
  const Tensor tq = to_tensor(context, q, of_q), tk = to_tensor(context, k, of_k), tv = to_tensor(context, v, of_k);
  Run r;
  r.out = attention_forward(context, tq, tk, tv, options, &r.logsumexp);
  attention_backward(context, to_tensor(context, dy, of_q), tq, tk, tv, r.out, r.logsumexp, options, &r.dq, &r.dk,
                     &r.dv);
  return r;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() && std::memcmp(a.host(), b.host(), static_cast<std::size_t>(a.size()) * 4) == 0;
}

// Scores are sums of `dim` products and outputs sums of up to `keys` of them, in fp32: √n roundings of 6e-8 each, and
// the error of a score enters through exp as it is.
double tolerance(const Case& c, double largest_score) {
  return 6e-8 * (4 + 2 * std::sqrt(static_cast<double>(c.keys + c.dim)) + 2 * largest_score);
}

}  // namespace

TEST("attention: forward equals the definition on every instruction set, for ragged sizes") {
  const Case cases[] = {{1, 1, 1, 1, 1},     {2, 7, 5, 2, 8},      {1, 64, 64, 4, 32},   {2, 16, 77, 3, 40},
                        {1, 33, 200, 1, 64}, {1, 100, 385, 2, 24}, {1, 77, 77, 2, 13, true}, {1, 230, 230, 1, 16, true},
                        {1, 49, 10, 1, 160}, {3, 31, 193, 1, 80}};
  for (const Case& c : cases) {
    const auto q = random_values(c.q_size(), 1), k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
    const Reference want = reference(c, q, k, v);
    for (const char* isa : instruction_sets()) {
      const Run got = run(make_context(2, isa), c, q, k, v, random_values(c.q_size(), 4));
      EXPECT_CLOSE(isa, got.out, want.out, tolerance(c, 5));
      EXPECT_CLOSE(isa, got.logsumexp, want.logsumexp, tolerance(c, 5));
    }
  }
}

TEST("attention: large logits neither overflow nor lose the winner") {
  const Case c{1, 40, 300, 1, 16};
  const auto q = random_values(c.q_size(), 1, 100), k = random_values(c.k_size(), 2, 100);
  const auto v = random_values(c.k_size(), 3);
  const Reference want = reference(c, q, k, v);
  double largest = 0;
  for (double l : want.logsumexp) largest = std::max(largest, std::abs(l));
  EXPECT(largest > 1e4);
  for (const char* isa : instruction_sets()) {
    const Run got = run(make_context(1, isa), c, q, k, v, random_values(c.q_size(), 4));
    EXPECT_CLOSE(isa, got.out, want.out, tolerance(c, largest));
    EXPECT_CLOSE(isa, got.logsumexp, want.logsumexp, tolerance(c, 0));
  }
}

TEST("attention: NaN comes through") {
  const Case c{1, 20, 200, 1, 16};
  auto q = random_values(c.q_size(), 1);
  q[5 * 16 + 3] = NAN;
  const auto k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
  for (const char* isa : instruction_sets()) {
    const Run got = run(make_context(1, isa), c, q, k, v, random_values(c.q_size(), 4));
    EXPECT(std::isnan(got.out.host()[5 * 16]));
    EXPECT(!std::isnan(got.out.host()[4 * 16]));
  }
}

TEST("attention: a key or value that is not finite reaches every query, wherever it stands") {
  const Case c{1, 20, 200, 1, 16};
  const auto q = random_values(c.q_size(), 1), k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
  for (const char* isa : instruction_sets())
    for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)})
      for (const std::size_t token : {std::size_t{0}, std::size_t{7}, std::size_t{199}})
        for (const bool key : {true, false}) {
          auto bad_k = k, bad_v = v;
          (key ? bad_k : bad_v)[token * 16 + 2] = bad;
          const Run got = run(make_context(1, isa), c, q, bad_k, bad_v, random_values(c.q_size(), 4));
          // Of an infinite key a query sees ±∞: it wins, which is NaN, or is not seen, as in PyTorch.
          for (std::size_t i = 0; i < 20; ++i) {
            const bool seen = !key || std::isnan(bad) || q[i * 16 + 2] > 0;
            if (seen) EXPECT(!std::isfinite(got.out.host()[i * 16 + 2]));
          }
        }
}

TEST("attention: backward equals finite differences") {
  // Groups of panels of queries, whole and ragged, one and two blocks of keys.
  const Case cases[] = {{1, 5, 7, 1, 4},         {2, 3, 4, 2, 3},     {1, 35, 3, 1, 2}, {1, 200, 3, 1, 2},
                        {1, 9, 9, 2, 2, true}, {1, 2, 195, 1, 2}, {1, 70, 195, 1, 2}};
  for (const Case& c : cases) {
    const auto q = random_values(c.q_size(), 1), k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
    const auto dy = random_values(c.q_size(), 4);
    const auto loss = [&](const Reference& r) {
      double sum = 0;
      for (std::size_t i = 0; i < dy.size(); ++i) sum += dy[i] * r.out[i];
      return sum;
    };
    const auto dq = finite_differences(q, [&](const auto& x) { return loss(reference(c, x, k, v)); });
    const auto dk = finite_differences(k, [&](const auto& x) { return loss(reference(c, q, x, v)); });
    const auto dv = finite_differences(v, [&](const auto& x) { return loss(reference(c, q, k, x)); });
    for (const char* isa : instruction_sets()) {
      const Run got = run(make_context(2, isa), c, q, k, v, dy);
      // Gradients of the scores are differences p (dp − delta): one more sum than forward.
      EXPECT_CLOSE("dq", got.dq, dq, 4 * tolerance(c, 5));
      EXPECT_CLOSE("dk", got.dk, dk, 4 * tolerance(c, 5));
      EXPECT_CLOSE("dv", got.dv, dv, 4 * tolerance(c, 5));
    }
  }
}

TEST("attention: the same bits for any number of threads and any batch neighbours") {
  for (const Case& c : {Case{3, 150, 260, 4, 40}, Case{3, 150, 150, 4, 40, true}}) {
    const auto q = random_values(c.q_size(), 1), k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
    const auto dy = random_values(c.q_size(), 4);
    Case alone = c;
    alone.batch = 1;
    const auto second = [&](const std::vector<double>& x) {
      const auto n = static_cast<std::ptrdiff_t>(x.size() / 3);
      return std::vector<double>(x.begin() + n, x.begin() + 2 * n);
    };
    for (const char* isa : instruction_sets()) {
      const Context one = make_context(1, isa), three = make_context(3, isa);
      const Run a = run(one, c, q, k, v, dy), b = run(three, c, q, k, v, dy);
      EXPECT(same_bits(a.out, b.out) && same_bits(a.logsumexp, b.logsumexp));
      EXPECT(same_bits(a.dq, b.dq) && same_bits(a.dk, b.dk) && same_bits(a.dv, b.dv));
      const Run single = run(three, alone, second(q), second(k), second(v), second(dy));
      EXPECT(same_bits(single.out, a.out.slice(1, 2)) && same_bits(single.dk, a.dk.slice(1, 2)));
      EXPECT(same_bits(single.dq, a.dq.slice(1, 2)) && same_bits(single.dv, a.dv.slice(1, 2)));
    }
  }
}

TEST("attention: on the tape, gradients go only where they are wanted") {
  const Context context = make_context();
  const Case c{1, 6, 5, 2, 4};
  const auto q = random_values(c.q_size(), 1), k = random_values(c.k_size(), 2), v = random_values(c.k_size(), 3);
  const auto dy = random_values(c.q_size(), 4);
  const Run want = run(context, c, q, k, v, dy);
  Tape tape(context, nullptr);
  const Var vq(to_tensor(context, q, {1, 6, 8}), true), vk(to_tensor(context, k, {1, 5, 8})),
      vv(to_tensor(context, v, {1, 5, 8}), true);
  const Var y = attention(tape, vq, vk, vv, {2});
  Tape::accumulate(context, y.gradient(), to_tensor(context, dy, {1, 6, 8}));
  tape.backward();
  EXPECT(same_bits(vq.gradient()->tensor, want.dq) && same_bits(vv.gradient()->tensor, want.dv));
  EXPECT(vk.gradient() == nullptr);
  EXPECT(!attention(tape, vk, vk, vk, {2}).requires_grad());
}

TEST("attention: shapes that do not fit are refused") {
  const Context context = make_context();
  const Tensor q = context.zeros({1, 4, 6}), k = context.zeros({1, 5, 6}), other = context.zeros({2, 5, 6});
  EXPECT_ERROR("CONES_INTERNAL", attention_forward(context, q, k, k, {4}));
  EXPECT_ERROR("CONES_INTERNAL", attention_forward(context, q, k, k, {0}));
  EXPECT_ERROR("CONES_INTERNAL", attention_forward(context, q, other, other, {2}));
  EXPECT_ERROR("CONES_INTERNAL", attention_forward(context, q, k, k, {2, true}));
}

TEST("attention: planning needs no data and knows the memory") {
  Context context = make_context();
  const Shape shape{2, 1024, 64};
  const auto peak = [&] {
    Tensor q = context.empty(shape);
    Tensor logsumexp, dq, dk, dv;
    if (!context.planning()) q = context.zeros(shape);
    const Tensor out = attention_forward(context, q, q, q, {4}, &logsumexp);
    attention_backward(context, out, q, q, q, out, logsumexp, {4}, &dq, &dk, &dv);
    return context.memory->peak();
  };
  context.memory->reset_peak();
  const std::size_t real = peak();
  context = context.plan();
  EXPECT(peak() <= real && peak() + (1u << 20) > real);  // `real` holds q twice for a moment
  EXPECT(real < std::size_t{2 * 4 * 1024} * 1024 * 4);   // less than the scores alone would take
}
