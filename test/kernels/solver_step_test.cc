// solver_step against the formula of csrc/diffusion/sampler.cc: all bits.
#include "solver_step.h"

#include "base/rng.h"
#include "same_bits.h"

using namespace cones::cuda;
using check::Guarded;

namespace {

struct Case {
  std::int64_t batch, picture;
  bool guided;
  int previous;
  bool noise, in_place;
  bool by_picture = false;
};

template <class T>
void run(const Case& c) {
  check::now = "batch " + std::to_string(c.batch) + ", picture " + std::to_string(c.picture) + (c.guided ? ", guided" : "") +
               ", " + std::to_string(c.previous) + " before" + (c.noise ? ", noise" : "") + (c.in_place ? ", in place" : "");
  const auto size = static_cast<std::size_t>(c.batch * c.picture);
  const std::vector<float> latents = check::normals<float>(size, 4);
  std::vector<std::vector<float>> previous;
  for (int p = 0; p < 4; ++p) previous.push_back(check::normals<float>(size));
  const std::vector<T> output = check::normals<T>((c.by_picture ? 3 : c.guided ? 2 : 1) * size);
  std::vector<std::uint64_t> seeds;
  for (std::int64_t b = 0; b < c.batch; ++b) seeds.push_back(check::random() * 0x100000001u + static_cast<std::uint64_t>(b));
  const std::uint64_t offset = static_cast<std::uint64_t>(c.picture) * 3;

  SolverStepArgs args = {};
  args.batch = c.batch, args.picture = c.picture;
  args.output_type = check::any_type_of<T>;
  args.guided = c.guided, args.guidance = 7.3;
  args.by_picture = c.by_picture, args.image_guidance = 1.7;
  args.prediction_from_x = 1.0173, args.prediction_from_output = -0.1871, args.x_from_x = 0.913, args.x_from_prediction = 0.0871;
  for (int p = 0; p < 4; ++p) args.x_from_previous[p] = -0.0314 * (p + 1);
  args.noise = c.noise ? 0.271 : 0.0;
  args.seeds = c.noise ? seeds.data() : nullptr, args.offset = offset;

  std::vector<float> prediction(size), next(size), noise(static_cast<std::size_t>(c.picture));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    cones::philox_normal(seeds[static_cast<std::size_t>(b)], offset, noise.data(), c.picture);
    for (std::int64_t k = 0; k < c.picture; ++k) {
      const auto j = static_cast<std::size_t>(b * c.picture + k);
      double o = dev::to_float(output[c.guided ? size + j : j]);
      if (c.by_picture) {
        const double without = dev::to_float(output[j]), with = dev::to_float(output[size + j]), prompt = dev::to_float(output[2 * size + j]);
        o = without + args.image_guidance * (with - without) + args.guidance * (prompt - with);
      } else if (c.guided) {
        const double negative = dev::to_float(output[j]);
        o = negative + args.guidance * (o - negative);
      }
      const double old = latents[j], m = args.prediction_from_x * old + args.prediction_from_output * o;
      double value = args.x_from_x * old + args.x_from_prediction * m;
      for (int p = 0; p < c.previous; ++p)
        value += args.x_from_previous[p] * static_cast<double>(previous[static_cast<std::size_t>(p)][j]);
      if (c.noise) value += args.noise * static_cast<double>(noise[static_cast<std::size_t>(k)]);
      prediction[j] = static_cast<float>(m);
      next[j] = static_cast<float>(value);
    }
  }

  check::each_order([&] {
    Guarded<T> in(output);
    Guarded<float> old(latents), before0(previous[0]), before1(previous[1]), before2(previous[2]), before3(previous[3]);
    Guarded<float> clean(size), value(size);
    Guarded<float>* const before[] = {&before0, &before1, &before2, &before3};
    args.output = in.data(), args.latents = old.data();
    for (int p = 0; p < 4; ++p) args.previous[p] = p < c.previous ? before[p]->data() : nullptr;
    args.prediction = c.in_place ? before0.data() : clean.data();
    args.next = c.in_place ? old.data() : value.data();
    check::expect(solver_step(nullptr, args) == 0, "status");
    check::expect_bits(c.in_place ? before0 : clean, prediction, "prediction");
    check::expect_bits(c.in_place ? old : value, next, "next");
  });
}

}  // namespace

int main() {
  for (const std::int64_t picture : {1, 5, 256, 300})
    for (const std::int64_t batch : {1, 3})
      for (int bits = 0; bits < 16; ++bits) {
        const Case c{batch, picture, (bits & 1) != 0, (bits & 2) != 0 ? 1 + bits % 4 : 0, (bits & 4) != 0, (bits & 8) != 0};
        run<float>(c);
        run<dev::half>(c);
        run<dev::bf16>(c);
      }
  run<float>({3, 300, true, 2, true, false, true});
  run<dev::half>({1, 5, false, 0, false, true, true});  // guided or not
  for (const std::int64_t batch : {64, 65, 130}) run<dev::half>({batch, 33, true, 4, true, false});  // more than a launch
  check::expect(solver_step(nullptr, {}) == kInvalid, "nothing to do");
  return check::done();
}
