// A sampler's arithmetic is fp64 per element in one order of operations, and its noise integers and correctly rounded fp32 (rng.h):
// all bits are the CPU's. Only scale_input has 16 bits: an fp64 product rounded to them at once, or from the CPU's fp32.
#include <array>
#include <cmath>

#include "case_table.h"

namespace cones::test {
namespace {

void scale_input(Run& run, const Shape& shape) {
  const Tensor x = run.input(shape, {.scale = 14, .rows = true, .dtype = DType::f32});
  Tensor scaled;
  run.op([&] { scaled = run.backend().scale_input(run.context(), x, 0.0682); });
  run.check("scaled", scaled, {.rows = true, .more = [&] {
                                 std::vector<double> bounds = run.values(scaled);
                                 for (double& value : bounds) value = 0x1p-24 * std::abs(value);
                                 return bounds;
                               }});
}

/// All of the latents where they are small, else parts that overlap.
Backend::Windows some_windows(index_t regions, index_t height, index_t width) {
  Backend::Windows windows{(height + 1) / 2 + height / 4, (width + 1) / 2, {}};
  for (index_t r = 0; r < regions; ++r)
    windows.corners.push_back({r % (height - windows.height + 1), (regions - r) % (width - windows.width + 1)});
  return windows;
}

void crop_rows(Run& run, index_t pictures, index_t regions, index_t height, index_t width, index_t channels) {
  const Tensor x = run.input({pictures, height, width, channels}, {.scale = 2});
  Tensor y;
  run.op([&] { y = run.backend().crop_rows(run.context(), x, some_windows(regions, height, width)); });
  run.check("y", y, {.exact = true});
}

/// Sums of fp64 products in one order: all bits.
void blend_rows(Run& run, index_t pictures, index_t regions, index_t height, index_t width, index_t channels) {
  const Backend::Windows windows = some_windows(regions, height, width);
  const Tensor x = run.input({pictures * regions, windows.height, windows.width, channels}, {.scale = 2, .dtype = DType::f32});
  const Tensor weights = run.input({pictures * regions, height, width}, {.dtype = DType::f32});
  Tensor y;
  run.op([&] { y = run.backend().blend_rows(run.context(), x, weights, windows); });
  run.check("y", y, {.exact = true});
}

struct Solver {
  index_t batch, height, width;
  bool guided;
  int previous;
  bool noise;
  std::uint64_t steps_done = 0;
  bool by_picture = false;
};

void solver_step(Run& run, const Solver& c) {
  const Shape shape{c.batch, c.height, c.width, 4};
  const Input rows{.scale = 2, .rows = true, .dtype = DType::f32};
  Backend::SolverInput in;
  in.x = run.input(shape, rows);
  for (int p = 0; p < c.previous; ++p) in.previous[at(p)] = run.input(shape, rows);
  const Tensor positive = run.input(shape, rows), negative = run.input(shape, rows);
  const Tensor both[] = {negative, positive};
  in.output = c.guided ? run.backend().stack_rows(run.context(), both) : positive;
  if (c.by_picture) {
    const Tensor three[] = {run.input(shape, rows), negative, positive};
    in.output = run.backend().stack_rows(run.context(), three);
    in.by_picture = true;
    in.image_guidance = 1.7;
  }
  in.guided = c.guided;
  in.guidance = 7.3;
  std::vector<std::uint64_t> seeds(at(c.batch));
  for (std::size_t b = 0; b < seeds.size(); ++b) seeds[b] = 0x123456789abcdefull * (b + 1);
  seeds = run.pick(seeds);
  in.seeds = seeds;
  in.steps_done = c.steps_done;
  SolverStep step{.timestep = 500, .input_scale = 1, .prediction_from_x = 1.0173, .prediction_from_output = -0.1871,
                  .x_from_x = 0.913, .x_from_prediction = 0.0871, .x_from_previous = {}, .noise = c.noise ? 0.271 : 0};
  for (int p = 0; p < c.previous; ++p) step.x_from_previous[at(p)] = std::array{-0.0314, 0.0271, -0.5, 1.25}[at(p)];
  Tensor prediction, next;
  run.op([&] { run.backend().solver_step(run.context(), in, step, prediction, next); });
  run.check("prediction", prediction, {.exact = true, .rows = true});
  run.check("next", next, {.exact = true, .rows = true});
}

void keep_known(Run& run, index_t batch, index_t height, index_t width) {
  const Input rows{.rows = true, .dtype = DType::f32};
  const Shape shape{batch, height, width, 4};
  const Tensor x = run.input(shape, rows), image = run.input(shape, rows), noise = run.input(shape, rows);
  const Tensor mask = run.input({batch, height, width, 1}, rows);  // any numbers
  Tensor y;
  run.op([&] { y = run.backend().keep_known(run.context(), x, image, noise, mask, 0.83, 0.41); });
  run.check("y", y, {.exact = true, .rows = true});
}

/// The normals themselves, beyond 2³² too: with nothing else in the step they are `next`.
void noise_alone(Run& run, std::uint64_t steps_done) {
  const Shape shape{2, 9, 7, 4};
  Backend::SolverInput in;
  in.x = run.given(std::vector<float>(at(shape.size())), shape, {.rows = true, .dtype = DType::f32});
  in.output = in.x;
  std::vector<std::uint64_t> seeds = run.pick<std::uint64_t>({7, ~std::uint64_t{0}});
  in.seeds = seeds;
  in.steps_done = steps_done;
  const SolverStep step{.timestep = 1, .input_scale = 1, .prediction_from_x = 1, .prediction_from_output = 0, .x_from_x = 1,
                        .x_from_prediction = 0, .x_from_previous = {}, .noise = 1};
  Tensor prediction, next;
  run.op([&] { run.backend().solver_step(run.context(), in, step, prediction, next); });
  run.check("normals", next, {.exact = true, .rows = true});
}

}  // namespace

void sampling_cases(Table& table) {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{3, 5, 7, 4}, Shape{2, 16, 16, 4}})
    table.add("scale_input " + shape.text(), [=](Run& run) { scale_input(run, shape); });
  for (const auto& [pictures, regions, height, width, channels] : std::initializer_list<std::array<index_t, 5>>{
           {1, 1, 1, 1, 1}, {1, 2, 8, 8, 4}, {3, 4, 5, 7, 4}, {2, 8, 3, 1, 9}, {2, 3, 64, 96, 4}}) {
    table.add("crop_rows " + sizes({pictures, regions, height, width, channels}),
              [=](Run& run) { crop_rows(run, pictures, regions, height, width, channels); });
    table.add("blend_rows " + sizes({pictures, regions, height, width, channels}),
              [=](Run& run) { blend_rows(run, pictures, regions, height, width, channels); });
  }
  for (const Solver& c : std::initializer_list<Solver>{{1, 1, 1, false, 0, false},
                                                       {3, 5, 7, false, 1, true, 3},
                                                       {2, 8, 8, true, 0, false},
                                                       {2, 8, 8, true, 3, false},
                                                       {2, 8, 8, true, 4, true, 49},
                                                       {70, 2, 1, true, 1, true, 7},
                                                       {3, 5, 7, true, 1, true, 2, true}})
    table.add("solver_step " + sizes({c.batch, c.height, c.width}) + (c.guided ? " guided" : "") + (c.by_picture ? " by picture" : "") + (c.previous ? " with " + std::to_string(c.previous) + " before" : "") +
                  (c.noise ? " with noise" : ""),
              [c](Run& run) { solver_step(run, c); });
  for (const index_t batch : {1, 3})
    table.add("keep_known " + sizes({batch, 5, 7}), [=](Run& run) { keep_known(run, batch, 5, 7); });
  for (const std::uint64_t steps : {std::uint64_t{0}, std::uint64_t{1} << 33})
    table.add("solver_step of noise alone, step " + std::to_string(steps), [=](Run& run) { noise_alone(run, steps); });
}

}  // namespace cones::test
