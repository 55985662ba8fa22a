// CLIP against transformers, on every instruction set, and what callers of the text encoder rely on.
#include "model/clip.h"

#include <algorithm>
#include <atomic>

#include "golden.h"
#include "harness.h"
#include "ops/transfer.h"

using namespace cones;
using namespace cones::test;

namespace {

const TextConfig kSd1{.vocab_size = 300, .hidden_size = 48, .intermediate_size = 96, .layers = 3, .heads = 4,
                      .max_positions = 77, .activation = Activation::quick_gelu, .layer_norm_eps = 1e-5f};
const TextConfig kSd2{.vocab_size = 290, .hidden_size = 40, .intermediate_size = 160, .layers = 2, .heads = 1,
                      .max_positions = 16, .activation = Activation::gelu, .layer_norm_eps = 1e-4f};

ClipConfig pair_config(Activation activation, int eos_token_id) {
  return {.text = {.vocab_size = 100, .hidden_size = 32, .intermediate_size = 48, .layers = 2, .heads = 2,
                   .max_positions = 20, .activation = activation, .layer_norm_eps = 1e-5f},
          .vision = {.channels = 3, .image_size = 24, .patch_size = 8, .hidden_size = 40, .intermediate_size = 64,
                     .layers = 2, .heads = 2, .activation = activation, .layer_norm_eps = 1e-5f},
          .projection_size = 24,
          .eos_token_id = eos_token_id};
}

/// The text encoder of clip-sd1 and the ids of its golden [2, 77].
struct TextEncoder {
  explicit TextEncoder(const Context& context)
      : golden("clip-sd1"),
        weights({golden.path("text_encoder/model.safetensors")}),
        model(context, weights, kSd1),
        ids(golden.ints("input_ids")) {}

  std::vector<float> states(const Context& context, std::span<const std::int32_t> some_ids, index_t batch,
                            const Var& replaced = {}, std::span<const std::int32_t> replaced_ids = {}) const {
    Tape tape(context);
    const auto length = static_cast<index_t>(some_ids.size()) / batch;
    return values(model.forward(tape, some_ids, batch, length, replaced, replaced_ids).value());
  }

  Golden golden;
  Weights weights;
  ClipText model;
  std::vector<std::int32_t> ids;
};

void compare_text(const char* isa, const std::string& name, const TextConfig& config) {
  const Context context = make_context(1, isa);
  const Golden golden(name);
  Weights weights({golden.path("text_encoder/model.safetensors")});
  const ClipText model(context, weights, config);
  weights.check_all_used({"position_ids"});

  const std::vector<std::int32_t> ids = golden.ints("input_ids"), tokens = golden.ints("token_ids");
  const index_t batch = golden.dim("input_ids", 0), length = golden.dim("input_ids", 1);
  Tape tape(context, nullptr);
  const Var rows(upload(context, model.token_rows(context, tokens), {static_cast<index_t>(tokens.size()), config.hidden_size}), true);
  const Var states = model.forward(tape, ids, batch, length, rows, tokens);
  EXPECT_GOLDEN(golden, "last_hidden_state", values(states.value()));

  // Back from the golden's loss, Σ_b weight_b · mean((states_b − target_b)²).
  const std::vector<float> target = golden.floats("target"), weight = golden.floats("weights");
  Tensor dstates = context.empty(states.shape());
  const index_t size = dstates.size() / batch;
  for (index_t i = 0; i < dstates.size(); ++i)
    dstates.host()[i] = 2 * weight[static_cast<std::size_t>(i / size)] / static_cast<float>(size) *
                        (states.value().host()[i] - target[static_cast<std::size_t>(i)]);
  Tape::accumulate(context, states.gradient(), dstates);
  tape.backward();
  EXPECT_GOLDEN(golden, "grad.token_embedding", values(rows.gradient()->tensor));
}

}  // namespace

TEST("text encoder equals transformers") {
  for (const char* isa : instruction_sets()) {
    compare_text(isa, "clip-sd1", kSd1);
    compare_text(isa, "clip-sd2", kSd2);
  }
}

TEST("embeddings of the pair equal transformers") {
  for (const char* isa : instruction_sets())
    for (const auto& [name, config] : {std::pair{"clip-model-first-eos", pair_config(Activation::gelu, 50)},
                                       std::pair{"clip-model-highest-id", pair_config(Activation::quick_gelu, 2)}}) {
      const Context context = make_context(1, isa);
      const Golden golden(name);
      Weights weights({golden.path("model.safetensors")});
      const Clip clip(context, weights, config);
      EXPECT_GOLDEN(golden, "image_embeds", values(clip.embed_images(context, download(context, golden.channels_last(context, "pixel_values")),
                                             golden.dim("pixel_values", 0))));
      const std::vector<std::int32_t> ids = golden.ints("input_ids");
      EXPECT_GOLDEN(golden, "text_embeds",
                    values(clip.embed_texts(context, ids, golden.dim("input_ids", 0), golden.dim("input_ids", 1))));
    }
}

TEST("a text's states do not depend on its neighbours or on the number of threads") {
  const Context context = make_context(1), two = make_context(2);
  const TextEncoder text(context);
  const std::vector<float> both = text.states(context, text.ids, 2);
  const std::vector<float> second = text.states(context, std::span(text.ids).subspan(77), 1);
  EXPECT(std::equal(second.begin(), second.end(), both.begin() + static_cast<std::ptrdiff_t>(both.size() / 2)));
  EXPECT(text.states(two, text.ids, 2) == both);
}

TEST("a token changes no state before it") {
  const Context context = make_context();
  const TextEncoder text(context);
  std::vector<std::int32_t> ids(text.ids.begin(), text.ids.begin() + 77), other = ids;
  other[20] = ids[20] == 5 ? 6 : 5;
  const std::vector<float> a = text.states(context, ids, 1), b = text.states(context, other, 1);
  const auto before = [](const std::vector<float>& v) { return v.begin() + 20 * kSd1.hidden_size; };
  EXPECT(std::equal(a.begin(), before(a), b.begin()));
  EXPECT(!std::equal(before(a), a.end(), before(b)));
}

TEST("a learned identifier stands in for its token, in or outside the vocabulary") {
  const Context context = make_context();
  const TextEncoder text(context);
  const std::vector<float> plain = text.states(context, text.ids, 2);
  const std::vector<std::int32_t> token{text.ids[3]}, outside{kSd1.vocab_size + 7};
  const Var row(upload(context, text.model.token_rows(context, token), {1, kSd1.hidden_size}));
  EXPECT(text.states(context, text.ids, 2, row, token) == plain);

  std::vector<std::int32_t> renamed = text.ids;
  std::replace(renamed.begin(), renamed.end(), token[0], outside[0]);
  EXPECT(text.states(context, renamed, 2, row, outside) == plain);
  EXPECT(text.states(context, text.ids, 2, Var(context.zeros({1, kSd1.hidden_size})), token) != plain);
  EXPECT_ERROR("CONES_CONFIG_INVALID", text.states(context, renamed, 2));
}

TEST("errors say what does not fit") {
  const Context context = make_context();
  const TextEncoder text(context);
  const std::vector<std::int32_t> long_ids(78, 1), bad{300}, negative{-1};
  EXPECT_ERROR("CONES_OPTION_INVALID", text.states(context, long_ids, 1));
  EXPECT_ERROR("CONES_OPTION_INVALID", text.model.token_rows(context, bad));
  EXPECT_ERROR("CONES_OPTION_INVALID", text.model.token_rows(context, negative));

  const Golden golden("clip-model-first-eos");
  Weights weights({golden.path("model.safetensors")});
  const Clip clip(context, weights, pair_config(Activation::gelu, 50));
  EXPECT_ERROR("CONES_OPTION_INVALID", clip.embed_images(context, std::vector<float>(24 * 25 * 3), 1));
  ClipConfig wrong = pair_config(Activation::gelu, 50);
  wrong.vision.patch_size = 25;
  EXPECT_ERROR("CONES_CONFIG_INVALID", Clip(context, weights, wrong));
  wrong = pair_config(Activation::gelu, 50);
  wrong.text.layers = 3;
  EXPECT_ERROR("CONES_TENSOR_MISSING", Clip(context, weights, wrong));
  wrong = pair_config(Activation::gelu, 50);
  wrong.text.hidden_size = 48;
  EXPECT_ERROR("CONES_TENSOR_SHAPE", Clip(context, weights, wrong));
}

TEST("a layer that the config does not describe is an error") {
  const Context context = make_context();
  const Golden golden("clip-sd1");
  Weights weights({golden.path("text_encoder/model.safetensors")});
  TextConfig config = kSd1;
  config.layers = 2;
  const ClipText model(context, weights, config);
  EXPECT_ERROR("CONES_TENSOR_UNEXPECTED", weights.check_all_used({"position_ids"}));
}

TEST("the text encoder stops when aborted") {
  Context context = make_context();
  const TextEncoder text(context);
  const std::atomic<bool> aborted{true};
  context.aborted = &aborted;
  EXPECT_ERROR("CONES_ABORTED", text.states(context, text.ids, 2));
}
