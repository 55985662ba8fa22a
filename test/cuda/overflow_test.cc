// What fp16 cannot hold ends a search's step with advice, leaves the search as it was, and is no trouble in bf16.
#include <atomic>
#include <cmath>
#include <string>

#include "base/error.h"
#include "half_golden.h"
#include "harness.h"
#include "jobs/search.h"
#include "tiny_model.h"

using namespace cones;
using namespace cones::test;

namespace {

const std::atomic<bool> kWanted = false;

jobs::SearchInput search_input(const Model& model) {
  SearchOptions options;
  options.learning_rate = 1e-4;
  options.tensors = {0, 1};
  jobs::SearchInput in = jobs::search_sizes({1, kSide, kSide, 8}, 1, kTokens, 1, 0, options);
  in.moments.assign(static_cast<std::size_t>(in.shape.size()), 0);
  in.embeddings.assign(static_cast<std::size_t>(kTokens * model.unet().config().cross_attention_dim), 0);
  return in;
}

}  // namespace

TEST("a value beyond fp16's range") {
  for (const jobs::Precision precision : kHalves) {
    const auto model = on_card(tiny_options(), precision);
    jobs::SearchJob search(model, search_input(*model), kWanted);
    const jobs::TrainingInput usual = training_input(*model, 1, 1);
    jobs::TrainingInput far = usual;
    far.latents[5] = 1e5f;
    search.update(usual, kWanted);
    const std::vector<std::byte> before = search.save();
    if (precision == jobs::Precision::bf16) {
      EXPECT(std::isfinite(search.update(far, kWanted).loss));
      continue;
    }
    std::string code, message;
    try {
      search.update(far, kWanted);
    } catch (const Error& error) {
      code = error.code();
      message = error.what();
    }
    EXPECT(code == "CONES_LOSS_NOT_FINITE" && message.find("precision 'bf16'") != std::string::npos);
    EXPECT(search.save() == before);
    EXPECT(std::isfinite(search.update(usual, kWanted).loss));
  }
}
