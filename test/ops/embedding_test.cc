// Token, position and timestep embeddings, and the loss.
#include <cmath>
#include <map>

#include "harness.h"
#include "ops/embedding.h"
#include "ops/mse_loss.h"
#include "ops/time_embedding.h"

using namespace cones;
using namespace cones::test;

namespace {

struct Stored : ParameterGradients {
  std::map<std::string, Tensor> gradients;
  bool wants(const Parameter&) const override { return true; }
  void add(const Context&, const Parameter& parameter, const Tensor& gradient) override {
    gradients[parameter.name] = gradient;
  }
};

}  // namespace

TEST("token_embedding: rows of the tables, replaced rows, and gradients of all three") {
  const index_t vocabulary = 7, channels = 5, length = 4, batch = 2;
  std::vector<float> table, places;
  for (int i = 0; i < 35; ++i) table.push_back(static_cast<float>(i));
  for (int i = 0; i < 30; ++i) places.push_back(static_cast<float>(i) / 64);
  const Parameter tokens{"tokens", {vocabulary, channels}, DType::f32, read_memory(table.data())};
  const Parameter positions{"positions", {6, channels}, DType::f32, read_memory(places.data())};
  const std::int32_t ids[] = {0, 3, 6, 3, 900, 1, 3, 900};
  const std::int32_t replaced_ids[] = {900, 3};
  for (bool replace : {false, true}) {
    const Context context = make_context();
    Stored kept;
    Tape tape(context, &kept);
    const Var learned(to_tensor(context, random_values(10, 1), {2, channels}), true);
    std::vector<std::int32_t> used(std::begin(ids), std::end(ids));
    if (!replace)
      for (std::int32_t& id : used) id %= 7;
    const Var y = replace ? token_embedding(tape, &tokens, &positions, used.data(), batch, length, learned, replaced_ids)
                          : token_embedding(tape, &tokens, &positions, used.data(), batch, length);
    EXPECT(y.shape() == Shape({batch, length, channels}));
    std::vector<double> dy = random_values(40, 2), dtokens(35), dpositions(30), dlearned(10);
    for (std::size_t row = 0; row < 8; ++row)
      for (std::size_t c = 0; c < 5; ++c) {
        const auto id = static_cast<std::size_t>(used[row]);
        const bool from_learned = replace && (id == 900 || id == 3);
        const std::size_t learned_at = (id == 900 ? 0 : 5) + c, place = row % 4 * 5 + c;
        const float value = from_learned ? learned.value().host()[learned_at] : table[id * 5 + c];
        EXPECT(y.value().host()[row * 5 + c] == value + places[place]);
        dpositions[place] += dy[row * 5 + c];
        (from_learned ? dlearned[learned_at] : dtokens[id * 5 + c]) += dy[row * 5 + c];
      }
    Tape::accumulate(context, y.gradient(), to_tensor(context, dy, y.shape()));
    tape.backward();
    // At most three values are added.
    EXPECT_CLOSE("tokens", kept.gradients.at("tokens"), dtokens, 3 * 6e-8);
    EXPECT_CLOSE("positions", kept.gradients.at("positions"), dpositions, 3 * 6e-8);
    if (replace) EXPECT_CLOSE("learned", learned.gradient()->tensor, dlearned, 3 * 6e-8);
  }
}

TEST("token_embedding: an id outside the vocabulary is refused") {
  const Context context = make_context();
  const std::vector<float> values(20);
  const Parameter tokens{"tokens", {5, 4}, DType::f32, read_memory(values.data())};
  const Parameter positions{"positions", {2, 4}, DType::f32, read_memory(values.data())};
  Tape tape(context);
  for (std::int32_t bad : {5, -1, 2147483647}) {
    const std::int32_t ids[] = {0, bad};
    EXPECT_ERROR("CONES_CONFIG_INVALID", token_embedding(tape, &tokens, &positions, ids, 1, 2));
  }
  const std::int32_t ids[] = {0, 1, 2};
  EXPECT_ERROR("CONES_INTERNAL", token_embedding(tape, &tokens, &positions, ids, 1, 3));
}

TEST("timestep_embedding: sines and cosines of geometric frequencies, in either order") {
  const Context context = make_context();
  const std::vector<double> timesteps{0, 1, 999, 481.5};
  for (index_t dim : {2, 5, 32})
    for (bool flip : {false, true})
      for (double shift : {0.0, 0.5}) {
        const Tensor got = timestep_embedding(context, timesteps, dim, flip, shift);
        EXPECT(got.shape() == Shape({4, dim}));
        const index_t half = dim / 2;
        std::vector<double> want;
        for (double t : timesteps)
          for (index_t i = 0; i < dim; ++i) {
            const double angle = t * std::pow(10000.0, -static_cast<double>(i % half) / (static_cast<double>(half) - shift));
            want.push_back(i == 2 * half ? 0 : (i < half) == flip ? std::cos(angle) : std::sin(angle));
          }
        EXPECT_CLOSE("embedding", got, want, 6e-8);
      }
}

TEST("mse_loss: weighted means and their gradient") {
  const Context context = make_context();
  const index_t batch = 3, size = 50;
  const auto output = random_values(150, 1), target = random_values(150, 2);
  const std::vector<double> weights{0.25, 0, 2};
  const auto loss = [&](const std::vector<double>& x) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      sum += weights[i / 50] / static_cast<double>(size) * (x[i] - target[i]) * (x[i] - target[i]);
    return sum;
  };
  const Tensor a = to_tensor(context, output, {batch, 5, 10, 1}), b = to_tensor(context, target, {batch, 5, 10, 1});
  const MseResult result = mse_loss(context, a, b, weights, true);
  const MseLoss got = read_loss(context, result, weights);
  EXPECT(std::abs(got.loss - loss(output)) < 1e-14 * got.loss * static_cast<double>(size));
  EXPECT(std::abs(got.means[0] * 0.25 + got.means[2] * 2 - got.loss) < 1e-14);
  EXPECT(*result.finite.host() == 1);
  EXPECT_CLOSE("gradient", result.gradient, finite_differences(output, loss), 1e-7);
  EXPECT(!mse_loss(context, a, b, weights, false).gradient.defined());
  EXPECT_ERROR("CONES_INTERNAL", mse_loss(context, a, b, std::vector<double>{1, 2}, false));
}
