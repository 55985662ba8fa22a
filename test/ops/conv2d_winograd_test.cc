#include "cpu/conv2d_winograd.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "harness.h"
#include "ops/conv2d.h"

using namespace cones;
using namespace cones::test;

namespace {

using Values = std::vector<double>;

// |Bᵀ|, |G| and |Aᵀ| of F(m×m, 3×3), from its points by Lagrange's formulas: what the transforms do to a bound of the
// rounding errors.
struct Matrices {
  std::size_t outputs, inputs;
  std::vector<Values> input, filter, output;

  Matrices(std::size_t m, const Values& points)
      : outputs(m), inputs(m + 2), input(inputs, Values(inputs)), filter(inputs, Values(3)), output(m, Values(inputs)) {
    for (std::size_t i = 0; i < inputs; ++i) {
      const bool infinity = i == points.size();
      Values polynomial{1};  // Π (x − point) over the other points, lowest power first
      double at_point = 1;
      for (std::size_t j = 0; j < points.size(); ++j) {
        if (j == i) continue;
        polynomial.insert(polynomial.begin(), 0);
        for (std::size_t k = 0; k + 1 < polynomial.size(); ++k) polynomial[k] -= points[j] * polynomial[k + 1];
        if (!infinity) at_point *= points[i] - points[j];
      }
      for (std::size_t k = 0; k < polynomial.size(); ++k) input[i][k] = std::abs(polynomial[k]);
      for (std::size_t k = 0; k < 3; ++k)
        filter[i][k] = infinity ? k == 2 : std::abs(std::pow(points[i], k) / at_point);
      for (std::size_t k = 0; k < m; ++k) output[k][i] = infinity ? k == m - 1 : std::abs(std::pow(points[i], k));
    }
  }
};

struct Case {
  index_t batch, height, width, in, out, pad_top, pad_left, out_height, out_width;
  Shape x() const { return {batch, height, width, in}; }
  Shape y() const { return {batch, out_height, out_width, out}; }
};

// Odd and even sides, all paddings, one tile, more channels than one chain and more outputs than one panel; more tiles
// than one task takes. Three panels in AVX-512, of which tasks take pairs.
const Case kCases[] = {{1, 1, 1, 1, 1, 1, 1, 1, 1},   {2, 4, 6, 3, 5, 1, 1, 4, 6},   {1, 5, 7, 17, 33, 1, 1, 5, 7},
                       {2, 4, 5, 135, 3, 1, 1, 4, 5}, {1, 6, 5, 4, 35, 0, 0, 4, 3},  {1, 4, 4, 5, 3, 2, 2, 6, 6},
                       {1, 4, 5, 6, 3, 2, 0, 5, 4},   {1, 30, 31, 2, 3, 1, 1, 30, 31},
                       {1, 3, 4, 3, 67, 1, 1, 3, 4}};

struct Problem {
  Case c;
  bool flipped;
  Values x, w;  // w [tap, in, out]

  double pixel(index_t b, index_t y, index_t column, index_t channel) const {
    if (y < 0 || column < 0 || y >= c.height || column >= c.width) return 0;
    return x[static_cast<std::size_t>(((b * c.height + y) * c.width + column) * c.in + channel)];
  }
  double tap(index_t t, index_t i, index_t o) const {
    return w[static_cast<std::size_t>(((flipped ? 8 - t : t) * c.in + i) * c.out + o)];
  }
  double output(index_t b, index_t y, index_t column, index_t o) const {
    double sum = 0;
    for (index_t t = 0; t < 9; ++t)
      for (index_t i = 0; i < c.in; ++i)
        sum += pixel(b, y + t / 3 - c.pad_top, column + t % 3 - c.pad_left, i) * tap(t, i, o);
    return sum;
  }
  // Σ of the absolute values of everything that is added up for one output.
  double magnitude(const Matrices& matrices, index_t b, index_t y, index_t column, index_t o) const {
    const auto m = static_cast<index_t>(matrices.outputs);
    const index_t top = y / m * m - c.pad_top, left = column / m * m - c.pad_left;
    const Values &to_row = matrices.output[static_cast<std::size_t>(y % m)],
                 &to_column = matrices.output[static_cast<std::size_t>(column % m)];
    double sum = 0;
    for (index_t i = 0; i < c.in; ++i)
      for (std::size_t p = 0; p < matrices.inputs; ++p)
        for (std::size_t q = 0; q < matrices.inputs; ++q) {
          double input = 0, filter = 0;
          for (std::size_t r = 0; r < matrices.inputs; ++r)
            for (std::size_t s = 0; s < matrices.inputs; ++s)
              input += matrices.input[p][r] * matrices.input[q][s] *
                       std::abs(pixel(b, top + static_cast<index_t>(r), left + static_cast<index_t>(s), i));
          for (std::size_t r = 0; r < 3; ++r)
            for (std::size_t s = 0; s < 3; ++s)
              filter += matrices.filter[p][r] * matrices.filter[q][s] *
                        std::abs(tap(static_cast<index_t>(3 * r + s), i, o));
          sum += to_row[p] * to_column[q] * input * filter;
        }
    return sum;
  }
};

Values random(const Shape& shape, unsigned seed) { return random_values(static_cast<std::size_t>(shape.size()), seed); }

// `roundings`: in the three transforms, each of two dimensions, of the scalar kernels.
void compare(int tile, const Matrices& matrices, index_t roundings) {
  for (const Case& c : kCases)
    for (const bool flipped : {false, true}) {
      const Problem problem{c, flipped, random(c.x(), 1), random({9, c.in, c.out}, 2)};
      const Values bias = random({c.out}, 3), group = random({c.batch, c.out}, 4), residual = random(c.y(), 5);
      Values want;
      double largest = 0, bound = 0;
      for (index_t b = 0; b < c.batch; ++b)
        for (index_t y = 0; y < c.out_height; ++y)
          for (index_t x = 0; x < c.out_width; ++x)
            for (index_t o = 0; o < c.out; ++o) {
              const double added[] = {bias[static_cast<std::size_t>(o)], group[static_cast<std::size_t>(b * c.out + o)],
                                      residual[want.size()]};
              want.push_back(problem.output(b, y, x, o) + added[0] + added[1] + added[2]);
              largest = std::max(largest, std::abs(want.back()));
              bound = std::max(bound, problem.magnitude(matrices, b, y, x, o) + std::abs(added[0]) + std::abs(added[1]) +
                                          std::abs(added[2]));
            }
      // Two roundings per multiply-add in the scalar kernels, 3 sums behind the transforms.
      const double tolerance = static_cast<double>(2 * c.in + roundings + 3) * 0x1p-24 * bound / largest;
      for (const char* isa : instruction_sets()) {
        std::vector<Tensor> results;
        for (int threads : {1, 2}) {
          const Context context = make_context(threads, isa);
          const Tensor x = to_tensor(context, problem.x, c.x()), w = to_tensor(context, problem.w, {9 * c.in, c.out}),
                       tbias = to_tensor(context, bias, {c.out}), tgroup = to_tensor(context, group, {c.batch, c.out}),
                       tresidual = to_tensor(context, residual, c.y()), zeros = context.zeros({c.in});
          const PackedMatrix packed = PackedMatrix::pack(context, w.host(), 9 * c.in, c.out, c.out, 1);
          Tensor y = context.empty(c.y());
          winograd_convolve(context, tile, Map(c.x()), x.host(), zeros.host(), packed, flipped, c.pad_top, c.pad_left,
                            c.out_height, c.out_width, y.host(),
                            {.bias = tbias.host(), .residual = tresidual.host(), .group_bias = tgroup.host(),
                             .rows_per_group = c.out_height * c.out_width});
          EXPECT_CLOSE(std::string(isa) + " " + c.x().text() + " to " + c.y().text(), y, want, tolerance);
          results.push_back(y);
        }
        EXPECT(std::memcmp(results[0].host(), results[1].host(), want.size() * sizeof(float)) == 0);
      }
    }
}

}  // namespace

TEST("F(2x2, 3x3) equals the convolution in double, within the bound of its roundings") {
  compare(2, Matrices(2, {0, 1, -1}), 3 * 4);
}

TEST("F(4x4, 3x3) equals the convolution in double, within the bound of its roundings") {
  compare(4, Matrices(4, {0, 0.625, -0.625, 1.5, -1.5}), 6 + 10 + 8);
}

TEST("a convolution that takes the fast way has the direct way's gradient of the input") {
  // <dy, conv(x)> = <conv_backward(dy), x> in double, forward by F(4×4) and backward by F(2×2).
  const index_t batch = 2, height = 9, width = 10, in = 257, out = 40;
  EXPECT(winograd_tile(1, in, out, height, width) == 4 && winograd_tile(batch, out, in, height, width) == 2);
  const Context context = make_context(2);
  const Values x = random({batch, height, width, in}, 1), dy = random({batch, height, width, out}, 2),
               w = random({out, in, 3, 3}, 3);
  const std::vector<float> stored(w.begin(), w.end());
  const Parameter weight{"w", {out, in, 3, 3}, DType::f32, read_memory(stored.data())};
  const ConvWeights layer(context, &weight, nullptr);
  const Conv2dOptions same{.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const Shape shape{batch, height, width, in};
  const Tensor y = conv2d_forward(context, to_tensor(context, x, shape), layer, same);
  const Tensor dx =
      conv2d_backward_input(context, to_tensor(context, dy, {batch, height, width, out}), layer, same, shape);
  double forward = 0, backward = 0, scale = 0;
  for (index_t i = 0; i < y.size(); ++i) {
    const double term = static_cast<double>(y.host()[i]) * dy[static_cast<std::size_t>(i)];
    forward += term;
    scale += std::abs(term);
  }
  for (index_t i = 0; i < dx.size(); ++i) backward += static_cast<double>(dx.host()[i]) * x[static_cast<std::size_t>(i)];
  EXPECT(std::abs(forward - backward) <= static_cast<double>(in + out) * 0x1p-24 * scale);
}
