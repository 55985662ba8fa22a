// A learned identifier beside the search, on a card, against PyTorch in 16 bits.
#include <algorithm>

#include "concepts/search.h"
#include "half_golden.h"
#include "harness.h"
#include "jobs/encode_text.h"
#include "ops/transfer.h"
#include "search_golden.h"
#include "tiny_model.h"
#include "watched_library.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr index_t kSteps = 5, kTokens = kGoldenTokens;

void compare(jobs::Precision precision) {
  HalfGolden golden("search-identifier", precision);
  ModelOptions options = tiny_options();
  options.files.text = {golden->path("text_encoder/model.safetensors")};
  options.files.unet = {Golden("search").path("unet/diffusion_pytorch_model.safetensors")};
  options.text = identifier_text_config();
  options.unet = search_unet_config();
  const auto model = on_card(options, precision);
  const Context context = model->context(nullptr);

  const std::vector<std::int32_t> ids = golden->ints("ids");
  // Without the learned embedding, text states are those of the table.
  const std::vector<float> states = jobs::encode_text(context, *model, {3, ids, {}, {}});
  SearchOptions search_options;
  search_options.clamp = false;
  for (std::size_t i = 0; i < model->unet().kv_tensors().size(); ++i) search_options.tensors.push_back(static_cast<int>(i));
  ConceptSearch search(context, model->unet(), search_options);
  // Of golden.json there. The third caption does not name the subject.
  LearnedIdentifier identifier(context, model->text(),
                               {.tokens = {7}, .starts = {{11, 23}}, .captions = {0, 1}, .ids = {ids.begin(), ids.begin() + 2 * kTokens},
                                .most_rows = 2, .learning_rate = 5e-3});
  std::vector<float> losses;
  for (index_t k = 0; k < kSteps; ++k) {
    const TrainingBatch batch = captioned_batch(context, golden.golden(), states, k);
    losses.push_back(static_cast<float>(search.step(context, batch, &identifier).loss));
  }
  EXPECT_ONLY_KERNELS(1 + kSteps);  // text states; losses
  EXPECT_HALF(golden, "losses", losses);
  EXPECT_HALF(golden, "embedding", download(context, identifier.embedding()));
  for (std::size_t i = 0; i < search.size(); ++i)
    EXPECT_HALF(golden, "score." + search.parameter(i).name, download(context, search.ranking(Ranking::score, i)));
}

}  // namespace

TEST("a learned identifier equals PyTorch's") {
  for (const jobs::Precision precision : kHalves) compare(precision);
}
