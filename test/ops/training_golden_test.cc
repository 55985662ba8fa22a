// Textual Inversion, Custom Diffusion and DreamBooth against PyTorch: test/goldens/models/training (see the README.md there).
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <span>
#include <string>

#include "golden.h"
#include "harness.h"
#include "io/weights.h"
#include "search_golden.h"
#include "training/trainer.h"

using namespace cones;
using namespace cones::test;

namespace {

const TextConfig kText = identifier_text_config();
const WeightFiles kUnetFiles{"test/goldens/models/search/unet/diffusion_pytorch_model.safetensors"};
const WeightFiles kTextFiles{"test/goldens/models/search-identifier/text_encoder/model.safetensors"};
constexpr index_t kSteps = 3, kTokens = kGoldenTokens;
constexpr std::int32_t kFirst = 7, kSecond = 40;  // the tokens that are learned; the second is a new one

enum class Method { textual_inversion, custom_diffusion, dreambooth };
constexpr Method kMethods[] = {Method::textual_inversion, Method::custom_diffusion, Method::dreambooth};

std::string name_of(Method method) {
  return method == Method::textual_inversion ? "textual-inversion" : method == Method::custom_diffusion ? "custom-diffusion" : "dreambooth";
}

struct Models {
  explicit Models(const Context& context)
      : golden("training"), unet_weights(kUnetFiles), text_weights(kTextFiles), unet(context, unet_weights, search_unet_config()),
        text(context, text_weights, kText) {
    std::vector<std::int32_t> ids = golden.ints("ids");
    // Of golden.json there. The third caption names no subject.
    identifier_options = {.tokens = {kFirst, kSecond}, .starts = {{11, 23}, {5}}, .captions = {0, 1},
                          .ids = {ids.begin(), ids.begin() + 2 * kTokens}, .most_rows = 2, .learning_rate = 5e-3, .weight_decay = 0.5};
    std::ranges::replace(ids, kSecond, kFirst);
    Tape tape(context);
    states = values(text.forward(tape, ids, 3, kTokens).value());
  }

  TrainerOptions options(Method method) const {
    TrainerOptions o;
    o.adam = {.learning_rate = 1e-3, .epsilon = 1e-3, .weight_decay = 0.5};
    if (method == Method::dreambooth) o.weights = TrainerOptions::Weights::unet;
    if (method != Method::custom_diffusion) return o;
    o.weights = TrainerOptions::Weights::kv;
    o.first_token_fixed = true;
    for (const KvWeights* weights : unet.kv_tensors())
      if (weights->parameter().name.find(".attn2.") != std::string::npos) o.tensors.push_back(weights->index());
    return o;
  }

  IdentifierOptions identifier(Method method) const {
    IdentifierOptions o = identifier_options;
    if (method == Method::custom_diffusion) o.learning_rate = 1e-3, o.epsilon = 1e-3;
    return o;
  }

  TrainingBatch batch(const Context& context, index_t k) const { return captioned_batch(context, golden, states, k); }

  Golden golden;
  Weights unet_weights, text_weights;
  UNet unet;
  ClipText text;
  std::vector<float> states;
  IdentifierOptions identifier_options;
};

/// A trainer with its identifiers, where it has some.
struct Training {
  Training(const Context& context, const Models& m, Method method, TrainerOptions options)
      : trainer(context, m.unet, kUnetFiles, std::move(options)) {
    if (method != Method::dreambooth) learned.emplace(context, m.text, m.identifier(method));
  }
  double step(const Context& context, const TrainingBatch& batch) { return trainer.step(context, batch, learned ? &*learned : nullptr).loss; }
  std::vector<std::byte> save(const Context& context) const {
    std::vector<std::byte> state = trainer.save(context);
    if (learned) std::ranges::copy(learned->save(context), std::back_inserter(state));
    return state;
  }

  Trainer trainer;
  std::optional<LearnedIdentifier> learned;
};

void compare(Method method, const char* isa, Checkpointing checkpointing) {
  const Context context = make_context(2, isa);
  Models m(context);
  TrainerOptions options = m.options(method);
  options.checkpointing = checkpointing;
  Training training(context, m, method, options);
  std::vector<float> losses;
  for (index_t k = 0; k < kSteps; ++k) losses.push_back(static_cast<float>(training.step(context, m.batch(context, k))));
  const std::string name = name_of(method);
  EXPECT_GOLDEN(m.golden, name + ".losses", losses);
  if (training.learned) EXPECT_GOLDEN(m.golden, name + ".embeddings", values(training.learned->embedding()));
  const TrainedWeights* weights = training.trainer.weights();
  std::size_t compared = 0;
  for (std::size_t i = 0; weights && i < weights->size(); ++i) {
    std::vector<float> got = values(weights->values(i));
    got.resize(std::min<std::size_t>(got.size(), 256));
    EXPECT_GOLDEN(m.golden, name + ".weight." + weights->parameter(i).name, got);
    ++compared;
  }
  const std::vector<std::string> all = m.golden.tensors();
  EXPECT(static_cast<std::ptrdiff_t>(compared) ==
         std::ranges::count_if(all, [&](const std::string& tensor) { return tensor.starts_with(name + ".weight."); }));
}

}  // namespace

TEST("losses, embeddings and weights of three steps equal PyTorch's") {
  for (const Method method : kMethods)
    for (const char* isa : instruction_sets()) compare(method, isa, Checkpointing::none);
}

TEST("with activations recomputed, too") {
  for (const Method method : kMethods)
    for (const Checkpointing checkpointing : {Checkpointing::light, Checkpointing::layers}) compare(method, nullptr, checkpointing);
}

TEST("a training goes on bit by bit from its state; a damaged one is refused and changes nothing") {
  const Context context = make_context();
  Models m(context);
  for (const Method method : kMethods) {
    Training training(context, m, method, m.options(method)), resumed(context, m, method, m.options(method));
    training.step(context, m.batch(context, 0));
    std::vector<std::byte> state = training.trainer.save(context);
    resumed.trainer.load(context, state);
    EXPECT(resumed.trainer.steps_done() == 1);
    if (training.learned) resumed.learned->load(context, training.learned->save(context));
    for (Training* one : {&training, &resumed}) one->step(context, m.batch(context, 1));
    EXPECT(resumed.save(context) == training.save(context));
    EXPECT(training.trainer.save(context) != state);

    const std::vector<std::byte> before = resumed.save(context);
    EXPECT_ERROR("CONES_STATE_INVALID", resumed.trainer.load(context, std::span(state).first(state.size() - 1)));
    if (method != Method::textual_inversion) {
      state.back() |= std::byte{0x80};  // the sign of a second moment
      EXPECT_ERROR("CONES_STATE_INVALID", resumed.trainer.load(context, state));
    }
    std::fill_n(state.begin(), 8, std::byte{0xff});  // steps
    EXPECT_ERROR("CONES_STATE_INVALID", resumed.trainer.load(context, state));
    EXPECT(resumed.save(context) == before);
  }
}

TEST("what is aborted, or whose loss is not finite, leaves a training as it was") {
  const Context context = make_context();
  Models m(context);
  for (const Method method : kMethods) {
    Training training(context, m, method, m.options(method)), other(context, m, method, m.options(method));
    const std::vector<std::byte> before = training.save(context);
    const std::atomic<bool> aborted = true;
    EXPECT_ERROR("CONES_ABORTED", training.step(context.watching(&aborted), m.batch(context, 0)));
    TrainingBatch broken = m.batch(context, 0);
    broken.target.host()[0] = INFINITY;
    EXPECT_ERROR("CONES_LOSS_NOT_FINITE", training.step(context, broken));
    EXPECT(training.save(context) == before);
    // And it goes on.
    for (Training* one : {&training, &other}) one->step(context, m.batch(context, 0));
    EXPECT(training.save(context) == other.save(context));
  }
}

TEST("the model itself stays as it is") {
  const Context context = make_context();
  Models m(context);
  const TrainingBatch batch = m.batch(context, 0);
  const auto output = [&] {
    Tape tape(context);
    const KvView view;
    const TextKv text = m.unet.project_text(tape, Var(batch.embeddings), view, batch.texts);
    return values(m.unet.forward(tape, {.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = view}).value());
  };
  const std::vector<float> before = output();
  for (const Method method : kMethods) Training(context, m, method, m.options(method)).step(context, batch);
  EXPECT(output() == before);
}

TEST("trained tensors are distinct ones of the model") {
  const Context context = make_context();
  Models m(context);
  TrainerOptions options = m.options(Method::custom_diffusion);
  options.tensors.push_back(options.tensors[0]);
  EXPECT_ERROR("CONES_OPTION_INVALID", Trainer(context, m.unet, kUnetFiles, options));
  options.tensors = {1000};
  EXPECT_ERROR("CONES_OPTION_INVALID", Trainer(context, m.unet, kUnetFiles, options));
}
