#include "cpu/gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "harness.h"
#include "cpu/kernels/kernels.h"

using namespace cones;
using namespace cones::test;

namespace {

using Values = std::vector<double>;

std::size_t at(index_t row, index_t columns, index_t column) {
  return static_cast<std::size_t>(row * columns + column);
}

struct Reference {
  Values value;
  double tolerance = 0;  // a-priori bound of a chain of n roundings: n · 2⁻²⁴ · Σ|terms|, relative to the largest value
};

// a [M, K] · b [K, N] + addend [M, N], in double.
Reference multiply(const Values& a, const Values& b, const Values& addend, index_t m, index_t k, index_t n) {
  Reference reference{.value = Values(at(m, n, 0))};
  double largest = 0, largest_sum = 0;
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      double value = addend[at(i, n, j)], sum = std::abs(value);
      for (index_t l = 0; l < k; ++l) {
        const double term = a[at(i, k, l)] * b[at(l, n, j)];
        value += term;
        sum += std::abs(term);
      }
      reference.value[at(i, n, j)] = value;
      largest = std::max(largest, std::abs(value));
      largest_sum = std::max(largest_sum, sum);
    }
  // The scalar kernels round product and sum, the others once; two additions follow.
  if (largest > 0) reference.tolerance = static_cast<double>(2 * k + 2) * 0x1p-24 * largest_sum / largest;
  return reference;
}

Values transpose(const Values& a, index_t rows, index_t columns) {
  Values t(a.size());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j) t[at(j, rows, i)] = a[at(i, columns, j)];
  return t;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() &&
         std::memcmp(a.host(), b.host(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

struct Size {
  index_t m, k, n;
};
// Ragged in every dimension; one larger than a block of rows and a chunk of k; one row; one column.
const Size kSizes[] = {{1, 1, 1},    {1, 33, 31},  {3, 31, 33}, {13, 7, 64},  {12, 32, 32}, {31, 17, 5},
                       {97, 61, 53}, {5, 300, 71}, {211, 520, 37}, {29, 257, 1}, {24, 16, 530}};

std::vector<std::uint32_t> random_indices(index_t size, double density, unsigned seed) {
  std::vector<std::uint32_t> indices;
  const Values random = random_values(static_cast<std::size_t>(size), seed);
  for (std::size_t i = 0; i < random.size(); ++i)
    if (std::abs(random[i]) < density) indices.push_back(static_cast<std::uint32_t>(i));
  return indices;
}

}  // namespace

TEST("gemm equals the product in double, with every epilogue, on all instruction sets") {
  for (const char* isa : instruction_sets())
    for (const Size& s : kSizes) {
      const Context context = make_context(2, isa);
      const auto count = [](index_t rows, index_t columns) { return at(rows, columns, 0); };
      const Values a = random_values(count(s.m, s.k), 1), b = random_values(count(s.k, s.n), 2);
      const index_t group = 1 + s.m / 3, groups = (s.m + group - 1) / group;
      const Values bias = random_values(count(1, s.n), 3), residual = random_values(count(s.m, s.n), 4),
                   group_bias = random_values(count(groups, s.n), 5);
      const Tensor ta = to_tensor(context, a, {s.m, s.k}), tb = to_tensor(context, b, {s.k, s.n}),
                   tbias = to_tensor(context, bias, {s.n}), tresidual = to_tensor(context, residual, {s.m, s.n}),
                   tgroup = to_tensor(context, group_bias, {groups, s.n});
      const PackedMatrix packed = PackedMatrix::pack(context, tb.host(), s.k, s.n, s.n, 1);
      for (int parts = 0; parts < 8; ++parts) {
        Epilogue epilogue;
        Values addend(count(s.m, s.n), 0.0);
        for (index_t i = 0; i < s.m; ++i)
          for (index_t j = 0; j < s.n; ++j) {
            double& value = addend[at(i, s.n, j)];
            if (parts & 1) value += bias[at(0, 0, j)];
            if (parts & 2) value += residual[at(i, s.n, j)];
            if (parts & 4) value += group_bias[at(i / group, s.n, j)];
          }
        if (parts & 1) epilogue.bias = tbias.host();
        if (parts & 2) epilogue.residual = tresidual.host();
        if (parts & 4) epilogue.group_bias = tgroup.host(), epilogue.rows_per_group = group;
        Tensor out = context.empty({s.m, s.n});
        gemm(context, ta.host(), s.k, s.m, packed, out.host(), s.n, epilogue);
        const Reference want = multiply(a, b, addend, s.m, s.k, s.n);
        EXPECT_CLOSE(std::string(isa) + " " + out.shape().text() + " K=" + std::to_string(s.k), out, want.value,
                     want.tolerance);
      }
    }
}

TEST("gemm reads and writes strided rows and nothing between them") {
  const Context context = make_context();
  const index_t m = 14, k = 21, n = 35, a_stride = 30, out_stride = 41;
  const Values a = random_values(at(m, a_stride, 0), 1), b = random_values(at(k, n, 0), 2);
  const Tensor ta = to_tensor(context, a, {m, a_stride}), tb = to_tensor(context, b, {k, n});
  Tensor out = to_tensor(context, Values(at(m, out_stride, 0), 7.0), {m, out_stride});
  gemm(context, ta.host(), a_stride, m, PackedMatrix::pack(context, tb.host(), k, n, n, 1), out.host(), out_stride);
  Values dense, got;
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < a_stride; ++j)
      if (j < k) dense.push_back(a[at(i, a_stride, j)]);
  const Reference want = multiply(dense, b, Values(at(m, n, 0), 0.0), m, k, n);
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < out_stride; ++j) {
      const double value = static_cast<double>(out.host()[i * out_stride + j]);
      if (j < n) got.push_back(value);
      if (j >= n) EXPECT(value == 7.0);
    }
  EXPECT_CLOSE("strided", to_tensor(context, got, {m, n}), want.value, want.tolerance);
}

TEST("pack reads B through any strides") {
  for (const char* isa : instruction_sets()) {
    const Context context = make_context(2, isa);
    const index_t k = 37, n = 43;
    const Tensor w = to_tensor(context, random_values(at(n, k, 0), 1), {n, k});
    const PackedMatrix transposed = PackedMatrix::pack(context, w.host(), k, n, 1, k);  // B = Wᵀ
    const PackedMatrix straight = PackedMatrix::pack(context, w.host(), n, k, k, 1);    // B = W
    const PackedMatrix every_other = PackedMatrix::pack(context, w.host(), k / 2, n, 2, k);
    const auto element = [](const PackedMatrix& b, index_t row, index_t column) {
      return b.panel(column / b.width())[row * b.width() + column % b.width()];
    };
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < k; ++j) {
        EXPECT(element(transposed, j, i) == w.host()[i * k + j]);
        EXPECT(element(straight, i, j) == w.host()[i * k + j]);
        if (j / 2 < k / 2) EXPECT(element(every_other, j / 2, i) == w.host()[i * k + j / 2 * 2]);
      }
    const index_t last = transposed.panels() - 1, used = n - last * transposed.width();
    for (index_t row = 0; row < k; ++row)
      for (index_t j = used; j < transposed.width(); ++j)
        EXPECT(transposed.panel(last)[row * transposed.width() + j] == 0.0f);
  }
}

TEST("a mask acts as zeros in the weight") {
  for (const char* isa : instruction_sets())
    for (const Size& s : kSizes) {
      const Context context = make_context(2, isa);
      const Values a = random_values(at(s.m, s.k, 0), 1);
      Values w = random_values(at(s.n, s.k, 0), 2);
      const std::vector<std::uint32_t> zeroed = random_indices(s.n * s.k, 0.3, 3);
      const Tensor ta = to_tensor(context, a, {s.m, s.k}), tw = to_tensor(context, w, {s.n, s.k});
      const PackedMask mask = PackedMask::from_indices(cpu_of(context).kernels().gemm->panel_width, s.n, s.k, zeroed);
      Tensor masked = context.empty({s.m, s.n}), expected = context.empty({s.m, s.n});
      gemm(context, ta.host(), s.k, s.m, PackedMatrix::pack(context, tw.host(), s.k, s.n, 1, s.k), masked.host(), s.n,
           {}, &mask);
      for (const std::uint32_t index : zeroed) w[index] = 0;
      const Tensor shut = to_tensor(context, w, {s.n, s.k});
      gemm(context, ta.host(), s.k, s.m, PackedMatrix::pack(context, shut.host(), s.k, s.n, 1, s.k), expected.host(),
           s.n);
      EXPECT(same_bits(masked, expected));
      const Reference want =
          multiply(a, transpose(w, s.n, s.k), Values(at(s.m, s.n, 0), 0.0), s.m, s.k, s.n);
      EXPECT_CLOSE(std::string(isa) + " masked", masked, want.value, want.tolerance);
    }
}

TEST("gemm gives the same bits on one and two threads and for any batch") {
  for (const char* isa : instruction_sets()) {
    const index_t m = 413, k = 601, n = 217;  // above the work that is worth a second thread
    const Values a = random_values(at(m, k, 0), 1), b = random_values(at(k, n, 0), 2);
    std::vector<Tensor> results;
    for (int threads : {1, 2, 3}) {
      const Context context = make_context(threads, isa);
      const Tensor ta = to_tensor(context, a, {m, k}), tb = to_tensor(context, b, {k, n});
      const PackedMatrix packed = PackedMatrix::pack(context, tb.host(), k, n, n, 1);
      Tensor out = context.empty({m, n});
      gemm(context, ta.host(), k, m, packed, out.host(), n);
      results.push_back(out);
      for (index_t row : {index_t{0}, index_t{7}, m - 1}) {
        Tensor alone = context.empty({1, n});
        gemm(context, ta.host() + row * k, k, 1, packed, alone.host(), n);
        EXPECT(same_bits(alone, out.slice(row, row + 1)));
      }
    }
    EXPECT(same_bits(results[0], results[1]));
    EXPECT(same_bits(results[0], results[2]));
  }
}

TEST("gemm_outer equals the product in double and does not depend on threads") {
  for (const char* isa : instruction_sets())
    for (const Size& s : {Size{1, 1, 1}, Size{3, 33, 31}, Size{77, 65, 13}, Size{600, 70, 101}, Size{300, 270, 110}}) {
      const Values p = random_values(at(s.m, s.n, 0), 1), q = random_values(at(s.m, s.k, 0), 2);
      std::vector<Tensor> results;
      for (int threads : {1, 2}) {
        const Context context = make_context(threads, isa);
        results.push_back(context.backend->outer(context, to_tensor(context, p, {s.m, s.n}), to_tensor(context, q, {s.m, s.k})));
      }
      const Reference want =
          multiply(transpose(p, s.m, s.n), q, Values(at(s.n, s.k, 0), 0.0), s.n, s.m, s.k);
      EXPECT_CLOSE(std::string(isa) + " outer", results[0], want.value, want.tolerance);
      EXPECT(same_bits(results[0], results[1]));
    }
}

TEST("gemm_outer_tiles hands out every element once, on lanes of the pool") {
  const Context context = make_context(2);
  const index_t m = 80, n = 131, k = 290;
  const Tensor p = to_tensor(context, random_values(at(m, n, 0), 1), {m, n});
  const Tensor q = to_tensor(context, random_values(at(m, k, 0), 2), {m, k});
  const Tensor whole = context.backend->outer(context, p, q);
  Tensor seen = context.zeros({n, k});
  std::mutex mutex;
  gemm_outer_tiles(context, p, q,
                   [&](index_t row, index_t rows, index_t column, index_t columns, const float* tile, index_t stride,
                       int lane) {
                     std::lock_guard lock(mutex);
                     EXPECT(lane >= 0 && lane < 2);
                     for (index_t r = 0; r < rows; ++r)
                       for (index_t c = 0; c < columns; ++c) {
                         seen.host()[(row + r) * k + column + c] += 1;
                         EXPECT(tile[r * stride + c] == whole.host()[(row + r) * k + column + c]);
                       }
                   });
  EXPECT(std::all_of(seen.host(), seen.host() + seen.size(), [](float count) { return count == 1; }));
}

TEST("column_sums adds rows in double, whole or in groups") {
  const Context context = make_context(2);
  const index_t m = 1200, n = 131;
  const Values x = random_values(at(m, n, 0), 1);
  const Tensor tx = to_tensor(context, x, {m, n});
  for (index_t group : {m, m / 4, index_t{1}}) {
    Values want(at(m / group, n, 0), 0.0);
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) want[at(i / group, n, j)] += x[at(i, n, j)];
    // The sums are exact to double rounding, and rounded to fp32 once.
    EXPECT_CLOSE("sums", context.backend->column_sums(context, tx, group), want, 0x1p-24);
  }
  EXPECT(context.backend->bias_gradient(context, tx).shape() == Shape({n}));
}

TEST("planning allocates what running allocates, and computes nothing") {
  const auto run = [](Context context) {
    const index_t m = 50, k = 40, n = 30;
    const Tensor a = context.zeros({m, k}), b = context.zeros({k, n}), dy = context.zeros({m, n});
    const PackedMatrix packed = PackedMatrix::pack(context, b.host(), k, n, n, 1);
    Tensor out = context.empty({m, n});
    gemm(context, a.host(), k, m, packed, out.host(), n);
    context.backend->outer(context, a, dy);
    context.backend->bias_gradient(context, dy);
    return context.memory->peak();
  };
  const Context planning = make_context(2).plan();
  EXPECT(run(planning) == run(make_context(2)));
}
