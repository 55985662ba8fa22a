// Rows and channels. What is only moved is equal bit for bit; sums of gradients are sums of `terms` values.
#include <algorithm>
#include <array>
#include <cmath>

#include "case_table.h"

namespace cones::test {
namespace {

void concat(Run& run, const Shape& shape, index_t a_channels) {
  const Tensor a = run.input(shape.with_last(a_channels), {.rows = true});
  const Tensor b = run.input(shape.with_last(shape.last() - a_channels), {.rows = true});
  const Tensor dy = run.input(shape, {.rows = true, .gradient = true});
  Tensor y, da, db;
  run.op([&] { y = run.backend().concat_channels_forward(run.context(), a, b); });
  run.check("y", y, {.exact = true, .rows = true});
  for (const int wanted : {3, 1, 2}) {
    run.op([&] {
      run.backend().concat_channels_backward(run.context(), dy, a.shape(), b.shape(), wanted & 1 ? &da : nullptr,
                                             wanted & 2 ? &db : nullptr);
    });
    if (wanted & 1) run.check("da", da, {.exact = true, .rows = true, .gradient = true});
    if (wanted & 2) run.check("db", db, {.exact = true, .rows = true, .gradient = true});
  }
}

void upsample(Run& run, const Shape& shape, index_t height, index_t width) {
  const Tensor x = run.input(shape, {.rows = true});
  const Tensor dy = run.input({shape[0], height, width, shape[3]}, {.rows = true, .gradient = true});
  Tensor y, dx;
  run.op([&] { y = run.backend().upsample_nearest_forward(run.context(), x, height, width); });
  run.op([&] { dx = run.backend().upsample_nearest_backward(run.context(), dy, x.shape()); });
  run.check("y", y, {.exact = true, .rows = true});
  const double terms = std::ceil(static_cast<double>(height) / static_cast<double>(shape[1])) *
                       std::ceil(static_cast<double>(width) / static_cast<double>(shape[2]));
  run.check("dx", dx, {.terms = terms, .rows = true, .gradient = true});
}

/// Row b is of x's row (3b + 1) mod U, or of `rest` every fourth time.
std::vector<int> sources(index_t batch, index_t unique, bool rest) {
  std::vector<int> source(at(batch));
  for (index_t b = 0; b < batch; ++b) source[at(b)] = rest && b % 4 == 1 ? -1 : static_cast<int>((3 * b + 1) % unique);
  return source;
}

void choose_rows(Run& run, index_t batch, index_t unique, index_t tokens, index_t columns, bool rest) {
  const std::vector<int> source = sources(batch, unique, rest);
  const Tensor x = run.input({unique, tokens, columns});
  const Tensor others = rest ? run.input({batch, tokens, columns}, {.rows = true}) : Tensor();
  Tensor y;
  run.op([&] { y = run.backend().choose_rows_forward(run.context(), x, run.pick(source), others); });
  run.check("y", y, {.exact = true, .rows = rest});
}

void choose_rows_backward(Run& run, index_t batch, index_t unique, index_t tokens, index_t columns, bool rest) {
  const std::vector<int> source = sources(batch, unique, rest);
  const Tensor dy = run.input({batch, tokens, columns}, {.scale = 0.1, .gradient = true});
  Tensor dx, gradient;
  const Shape shape{unique, tokens, columns};
  run.op([&] { dx = run.backend().choose_rows_backward(run.context(), dy, source, shape); });
  run.op([&] { gradient = run.backend().rows_gradient(run.context(), dy, source, shape); });
  const double terms = static_cast<double>(batch);
  run.check("dx", dx, {.terms = terms, .gradient = true});
  // fp32, but of sums that a backend may keep in 16 bits first: u, and in fp16 half of a subnormal.
  run.check("gradient", gradient, {.terms = terms, .more = [&] {
                                     std::vector<double> bounds = run.values(gradient);
                                     for (double& value : bounds) value = run.unit() * std::abs(value) + 0x1p-25;
                                     return bounds;
                                   }});
}

void add_rows(Run& run, index_t rows, index_t unique, index_t columns) {
  const Tensor y = run.input({rows, columns}), x = run.input({unique, columns});
  std::vector<int> source = sources(rows, unique, true);
  run.op([&] { run.backend().add_rows(run.context(), y, x, source); });
  run.check("y", y, {.exact = true});
}

void stack_rows(Run& run, int parts, index_t tokens, index_t columns, bool fp32) {
  std::vector<Tensor> all;
  for (int i = 0; i < parts; ++i) {
    const Shape shape{1 + i % 3, tokens, columns};
    all.push_back(fp32 ? run.input(shape, {.dtype = DType::f32}) : run.input(shape));
  }
  Tensor y;
  run.op([&] { y = run.backend().stack_rows(run.context(), all); });
  run.check("y", y, {.exact = true});
}

/// Squares are summed in fp32 or wider: half of 4·√C·2⁻²⁴ relative to the length, one rounding each of root and division.
void normalize_rows(Run& run, index_t rows, index_t columns) {
  const Tensor x = run.input({rows, columns}, {.scale = 3, .rows = true});
  Tensor y;
  run.op([&] { y = run.backend().normalize_rows(run.context(), x); });
  run.check("y", y, {.rows = true, .more = [&] {
                       std::vector<double> bounds = run.values(y);
                       for (double& value : bounds)
                         value = (2 * std::sqrt(static_cast<double>(columns)) + 2) * 0x1p-24 * std::abs(value);
                       return bounds;
                     }});
}

}  // namespace

void row_cases(Table& table) {
  const std::pair<Shape, index_t> concats[] = {
      {{1, 1, 1, 2}, 1}, {{2, 3, 5, 12}, 5}, {{2, 4, 3, 40}, 16}, {{2, 3, 3, 41}, 40}, {{3, 8, 8, 96}, 64}};
  for (const auto& [shape, a] : concats)
    table.add("concat_channels " + shape.text() + " at " + std::to_string(a),
              [shape = shape, a = a](Run& run) { concat(run, shape, a); });
  struct Resize {
    Shape x;
    index_t height, width;
  };
  for (const Resize& c : std::initializer_list<Resize>{{{1, 1, 1, 1}, 2, 3}, {{2, 3, 4, 5}, 6, 8}, {{2, 4, 5, 40}, 8, 10},
                                                       {{2, 3, 5, 9}, 5, 9}, {{1, 7, 6, 16}, 13, 11}, {{2, 8, 8, 24}, 8, 8}})
    table.add("upsample_nearest " + c.x.text() + " to " + sizes({c.height, c.width}),
              [c](Run& run) { upsample(run, c.x, c.height, c.width); });
  struct Choose {
    index_t batch, unique, tokens, columns;
    bool rest;
  };
  for (const Choose& c : std::initializer_list<Choose>{{1, 1, 1, 1, false}, {5, 2, 3, 7, false}, {7, 3, 5, 16, true},
                                                       {300, 5, 1, 9, false}, {300, 260, 2, 8, true}}) {
    const std::string name = sizes({c.batch, c.tokens, c.columns}) + " of " + std::to_string(c.unique) + (c.rest ? " and others" : "");
    table.add("choose_rows_forward " + name,
              [c](Run& run) { choose_rows(run, c.batch, c.unique, c.tokens, c.columns, c.rest); });
    table.add("choose_rows_backward " + name,
              [c](Run& run) { choose_rows_backward(run, c.batch, c.unique, c.tokens, c.columns, c.rest); });
  }
  for (const auto& [rows, unique, columns] : std::initializer_list<std::array<index_t, 3>>{{2, 1, 1}, {11, 2, 33}, {300, 3, 8}})
    table.add("add_rows " + sizes({rows, columns}) + " of " + std::to_string(unique),
              [=](Run& run) { add_rows(run, rows, unique, columns); });
  for (const bool fp32 : {false, true})
    for (const auto& [parts, tokens, columns] : std::initializer_list<std::array<index_t, 3>>{{1, 1, 1}, {3, 2, 7}, {64, 1, 8}, {131, 1, 5}})
      table.add("stack_rows " + std::to_string(parts) + " parts of " + sizes({tokens, columns}) + (fp32 ? " fp32" : ""),
                [=](Run& run) { stack_rows(run, static_cast<int>(parts), tokens, columns, fp32); });
  for (const auto& [rows, columns] : std::initializer_list<std::array<index_t, 2>>{{1, 1}, {3, 7}, {5, 768}, {70, 33}})
    table.add("normalize_rows " + sizes({rows, columns}), [=](Run& run) { normalize_rows(run, rows, columns); });
}

}  // namespace cones::test
