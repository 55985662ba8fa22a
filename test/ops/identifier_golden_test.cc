// A learned identifier beside the search against PyTorch: test/goldens/models/search-identifier (see the README.md there).

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>

#include "concepts/search.h"
#include "golden.h"
#include "harness.h"
#include "io/weights.h"
#include "search_golden.h"

using namespace cones;
using namespace cones::test;

namespace {

const TextConfig kText = identifier_text_config();
constexpr index_t kSteps = 5, kTokens = kGoldenTokens;

struct Models {
  explicit Models(const Context& context)
      : golden("search-identifier"),
        unet_weights({"test/goldens/models/search/unet/diffusion_pytorch_model.safetensors"}),
        text_weights({golden.path("text_encoder/model.safetensors")}),
        unet(context, unet_weights, search_unet_config()),
        text(context, text_weights, kText) {
    for (std::size_t i = 0; i < unet.kv_tensors().size(); ++i) search_options.tensors.push_back(static_cast<int>(i));
    // Of golden.json there. The third caption does not name the subject.
    const std::vector<std::int32_t> ids = golden.ints("ids");
    identifier_options = {.tokens = {7}, .starts = {{11, 23}}, .captions = {0, 1}, .ids = {ids.begin(), ids.begin() + 2 * kTokens},
                          .most_rows = 2, .learning_rate = 5e-3};
    Tape tape(context);
    states = values(text.forward(tape, ids, 3, kTokens).value());
  }

  TrainingBatch batch(const Context& context, index_t k, bool shared = true) const {
    TrainingBatch batch = captioned_batch(context, golden, states, k, shared);
    EXPECT(shared == (batch.captions.size() < static_cast<std::size_t>(kGoldenRows)));
    return batch;
  }

  Golden golden;
  Weights unet_weights, text_weights;
  UNet unet;
  ClipText text;
  std::vector<float> states;
  SearchOptions search_options;
  IdentifierOptions identifier_options;
};

void compare(const char* isa, Checkpointing checkpointing, bool shared = true) {
  const Context context = make_context(2, isa);
  Models m(context);
  m.search_options.clamp = false;
  m.search_options.checkpointing = checkpointing;
  ConceptSearch search(context, m.unet, m.search_options);
  LearnedIdentifier identifier(context, m.text, m.identifier_options);
  std::vector<float> losses;
  for (index_t k = 0; k < kSteps; ++k)
    losses.push_back(static_cast<float>(search.step(context, m.batch(context, k, shared), &identifier).loss));
  EXPECT_GOLDEN(m.golden, "losses", losses);
  EXPECT_GOLDEN(m.golden, "embedding", values(identifier.embedding()));
  for (std::size_t i = 0; i < search.size(); ++i)
    EXPECT_GOLDEN(m.golden, "score." + search.parameter(i).name, values(search.ranking(Ranking::score, i)));
}

}  // namespace

TEST("a learned identifier equals PyTorch's") {
  for (const char* isa : instruction_sets()) compare(isa, Checkpointing::none);
}

TEST("beside a checkpointed search, too") {
  compare(nullptr, Checkpointing::light);
  compare(nullptr, Checkpointing::layers);
}

TEST("whether rows share a caption's states or have a copy each") { compare(nullptr, Checkpointing::none, false); }

TEST("an identifier's state goes on bit by bit; a damaged one is refused") {
  const Context context = make_context();
  Models m(context);
  ConceptSearch search(context, m.unet, m.search_options), other(context, m.unet, m.search_options);
  LearnedIdentifier identifier(context, m.text, m.identifier_options), resumed(context, m.text, m.identifier_options);
  for (index_t k = 0; k < 2; ++k) search.step(context, m.batch(context, k), &identifier);
  std::vector<std::byte> state = identifier.save(context);
  EXPECT(state.size() == identifier.state_size());
  resumed.load(context, state);
  other.load(context, search.save(context));
  search.step(context, m.batch(context, 2), &identifier);
  other.step(context, m.batch(context, 2), &resumed);
  EXPECT(resumed.save(context) == identifier.save(context));
  EXPECT(resumed.save(context) != state);

  EXPECT_ERROR("CONES_STATE_INVALID", resumed.load(context, std::span(state).first(state.size() - 1)));
  const std::byte last = state.back();
  state.back() |= std::byte{0x80};  // the sign of a second moment
  EXPECT_ERROR("CONES_STATE_INVALID", resumed.load(context, state));
  state.back() = last;
  std::fill_n(state.begin(), sizeof(float), std::byte{0xff});  // not a number
  EXPECT_ERROR("CONES_STATE_INVALID", resumed.load(context, state));
}

TEST("what is aborted, or whose loss is not finite, leaves the identifier as it was") {
  const Context context = make_context();
  Models m(context);
  ConceptSearch search(context, m.unet, m.search_options);
  LearnedIdentifier identifier(context, m.text, m.identifier_options);
  const std::vector<std::byte> before = identifier.save(context);
  const std::atomic<bool> aborted = true;
  Context stopped = context;
  stopped.aborted = &aborted;
  EXPECT_ERROR("CONES_ABORTED", search.step(stopped, m.batch(context, 0), &identifier));
  TrainingBatch broken = m.batch(context, 0);
  broken.target.host()[0] = INFINITY;
  EXPECT_ERROR("CONES_LOSS_NOT_FINITE", search.step(context, broken, &identifier));
  EXPECT(identifier.save(context) == before);
}
