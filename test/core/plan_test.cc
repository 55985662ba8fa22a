// A plan is the job itself without its numbers: its peak is that of a real run, to the byte.
#include "jobs/plan.h"

#include "harness.h"
#include "jobs/denoise.h"
#include "jobs/encode_text.h"
#include "jobs/gradient.h"
#include "jobs/loss.h"
#include "jobs/pictures.h"
#include "jobs/sample.h"
#include "jobs/search.h"
#include "jobs/token_gradient.h"
#include "jobs/training.h"
#include "tiny_model.h"

using namespace cones;
using namespace cones::test;

namespace {

const std::atomic<bool> kWanted = false;  // the flag of a job that nobody aborts

/// The plan of `sizes` is what `in` takes on a model of its own, and what is left is no more than the result.
template <class Result, class Input>
void expect_planned(const char* what, jobs::Recipe<Result, Input> recipe, const std::shared_ptr<const Model>& model,
                    const Input& in, const Input& sizes) {
  const jobs::Plan planned = jobs::plan(recipe, *model, sizes);
  EXPECT(model->memory().in_use == model->memory().weights);
  const auto result = jobs::run(recipe, *model, in, kWanted);
  if (planned.peak != peak_of(*model))
    report(__FILE__, __LINE__, std::string(what) + ": planned " + std::to_string(planned.peak) + ", took " + std::to_string(peak_of(*model)));
  EXPECT(jobs::plan(recipe, *model, in).peak <= planned.peak);  // backward's weights are there now
}

template <class Input>
Input without_floats(Input in) {
  in.latents.clear();
  in.embeddings.clear();
  return in;
}

std::vector<std::string> kv_names(const Model& model) {
  std::vector<std::string> names;
  for (const KvWeights* weights : model.unet().kv_tensors()) names.push_back(weights->parameter().name);
  return names;
}

jobs::SearchInput search_input(const Model& model, Optimizer optimizer, bool identifier) {
  SearchOptions options;
  options.optimizer = optimizer;
  options.learning_rate = 1e-4;
  options.tensors = {0, 1, 2, 5};
  jobs::SearchInput in;
  in.shape = {3, kSide, kSide, 2 * index_t{model.unet().config().in_channels}};
  in.moments = floats(in.shape.size(), 1);
  in.captions = 1;
  in.tokens = kTokens;
  in.embeddings = floats(in.captions * in.tokens * model.unet().config().cross_attention_dim, 2);
  in.data.subjects = 2;
  in.data.captions = {{0}, {0}, {0}};
  in.data.subject_batch = 2;
  in.data.prior_batch = 1;
  in.data.alphas_cumprod.assign(1000, 0.5);
  in.options = options;
  if (identifier) {
    in.identifier.emplace();
    in.identifier->tokens = {3};
    in.identifier->starts = {{5}};
    in.identifier->captions = {0};
    in.identifier->ids = {0, 1, 3, 5, 6, 7, 2};
    in.identifier->most_rows = 1;
  }
  return in;
}

}  // namespace

TEST("denoise, with and without masks") {
  for (const bool masked : {false, true}) {
    const auto model = tiny_model();
    jobs::DenoiseInput in = training_input(*model, 2, 1);
    if (masked) in.masks = {mask_of(model, 3), nullptr};
    expect_planned("denoise", jobs::denoise, model, in, jobs::sizes_of(*model, 2, kSide, kSide, kTokens));
  }
}

TEST("gradient of every weight and input, or of some") {
  for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::light, Checkpointing::layers})
    for (const bool inputs : {false, true})
      for (const bool masked : {false, true}) {
        const auto model = tiny_model();
        jobs::GradientInput in;
        static_cast<jobs::TrainingInput&>(in) = training_input(*model, 2, 1);
        if (inputs) in.tensors = kv_names(*model);
        in.tensors.push_back("conv_in.weight");
        in.want_latents = in.want_embeddings = inputs;
        in.checkpointing = checkpointing;
        if (masked) in.masks = {mask_of(model, 3), nullptr};
        jobs::GradientInput sizes = without_floats(in);
        sizes.target.clear();
        expect_planned("gradient", jobs::gradient, model, in, sizes);
      }
}

TEST("gradients that are handed over are on no account, and zeros where the loss does not depend on a weight") {
  const auto model = tiny_model();
  jobs::GradientInput in;
  static_cast<jobs::TrainingInput&>(in) = training_input(*model, 1, 1);
  in.tensors = kv_names(*model);
  in.weights = {0};
  const std::size_t packed = [&] {  // by the first run, for good
    jobs::run(jobs::gradient, *model, in, kWanted);
    return model->memory().in_use;
  }();
  const jobs::GradientResult result = jobs::run(jobs::gradient, *model, in, kWanted);
  EXPECT(model->memory().in_use == packed);
  EXPECT(result.gradients.size() == in.tensors.size() && result.latents.empty() && result.embeddings.empty());
  for (const Tensor& gradient : result.gradients) {
    EXPECT(!gradient.shared());
    for (const double value : to_vector(gradient)) EXPECT(value == 0);
  }
  in.tensors.push_back(in.tensors.front());
  EXPECT_ERROR("CONES_OPTION_INVALID", jobs::run(jobs::gradient, *model, in, kWanted));
}

TEST("loss") {
  const auto model = tiny_model();
  jobs::LossInput in;
  in.shape = {2, kSide, kSide, 2 * index_t{model->unet().config().in_channels}};
  in.moments = floats(in.shape.size(), 1);
  in.tokens = kTokens;
  in.embeddings = floats(2 * kTokens * model->unet().config().cross_attention_dim, 2);
  in.timesteps = {3, 700};
  in.alphas_cumprod.assign(1000, 0.5);
  in.masks = {nullptr, mask_of(model, 3)};
  jobs::LossInput sizes = in;
  sizes.moments.clear();
  sizes.embeddings.clear();
  expect_planned("loss", jobs::loss, model, in, sizes);
  in.timesteps[0] = 1000;
  EXPECT_ERROR("CONES_OPTION_INVALID", jobs::run(jobs::loss, *model, in, kWanted));
}

TEST("texts, with a learned embedding and its gradient") {
  const std::vector<std::int32_t> ids{0, 1, 3, 5, 6, 7, 2, 0, 9, 9, 5, 3, 7, 2};
  for (const bool learned : {false, true}) {
    const auto model = tiny_model();
    jobs::TextInput in;
    in.rows = 2;
    in.ids = ids;
    if (learned) {
      in.replace_ids = {3};
      in.replace_rows = floats(model->text().config().hidden_size, 1);
    }
    jobs::TextInput sizes = in;
    sizes.replace_rows.clear();
    expect_planned("text", jobs::encode_text, model, in, sizes);
  }
  const auto model = tiny_model();
  jobs::TokenGradientInput in;
  in.rows = 2;
  in.ids = ids;
  in.tokens = {3, 9};
  in.upstream = floats(static_cast<index_t>(ids.size()) * model->text().config().hidden_size, 2);
  jobs::TokenGradientInput sizes = in;
  sizes.upstream.clear();
  expect_planned("token gradient", jobs::token_gradient, model, in, sizes);
}

TEST("pictures in one pass, and in as many as memory makes them") {
  const index_t side = 64, count = 3, scaled = side / kSide;
  const std::vector<float> pixels = floats(count * side * side * 3, 1);
  const std::vector<float> latents = floats(count * 4 * scaled * scaled, 2);
  const jobs::Pictures images{count, side, side, pixels}, codes{count, scaled, scaled, latents};
  {
    const auto encoder = tiny_model(), decoder = tiny_model();
    expect_planned("encode", jobs::encode_images, encoder, images, {count, side, side});
    expect_planned("decode", jobs::decode_latents, decoder, codes, {count, scaled, scaled});
  }
  const auto ample = tiny_model();
  const std::size_t one_image = jobs::plan(jobs::encode_images, *ample, {1, side, side}).peak;
  const std::size_t one_code = jobs::plan(jobs::decode_latents, *ample, {1, scaled, scaled}).peak;
  const auto encoder = tiny_model(one_image), decoder = tiny_model(one_code);
  EXPECT(jobs::plan_encode(*ample, images, ample->available_memory()) > one_image);
  EXPECT(jobs::plan_encode(*encoder, images, encoder->available_memory()) == one_image);
  EXPECT(jobs::plan_decode(*decoder, codes, decoder->available_memory()) == one_code);
  EXPECT(jobs::encode_in_passes(*encoder, images, kWanted) == jobs::encode_in_passes(*ample, images, kWanted));
  EXPECT(jobs::decode_in_passes(*decoder, codes, kWanted) == jobs::decode_in_passes(*ample, codes, kWanted));
  EXPECT(peak_of(*encoder) == one_image && peak_of(*decoder) == one_code);
  const auto tight = tiny_model(one_image - 1);
  EXPECT_ERROR("CONES_OUT_OF_MEMORY", jobs::encode_in_passes(*tight, images, kWanted));
  EXPECT(peak_of(*tight) == 0);  // before anything ran
}

TEST("drawings, alone and together") {
  for (const bool guided : {false, true}) {
    for (const bool regional : {false, true}) {
      const auto model = tiny_model();
      const jobs::Drawing drawing = regional ? regional_input(*model, 2, 3, guided, 1) : drawing_input(*model, 2, 3, guided, 1);
      const jobs::Plan planned = jobs::plan_together(*model, {drawing.size()});
      jobs::SampleJob job(model, std::make_shared<jobs::SamplingGroup>(), drawing);
      while (!job.step(kWanted, [](const Sampling&) {})) {}
      EXPECT(peak_of(*model) == planned.peak);
      EXPECT(model->memory().in_use - model->memory().weights == planned.held);
    }
  }
  const auto model = tiny_model();
  const std::vector<jobs::Drawing> drawings{drawing_input(*model, 1, 3, true, 1), drawing_input(*model, 1, 4, false, 2),
                                            drawing_input(*model, 1, 3, true, 3)};
  std::vector<jobs::DrawingSize> sizes;
  jobs::SamplingGroup group;
  std::vector<std::shared_ptr<jobs::SamplingGroup::Member>> members;
  for (const jobs::Drawing& drawing : drawings) {
    sizes.push_back(drawing.size());
    members.push_back(group.join(*model, drawing, [](const Sampling&) {}, kWanted));
  }
  for (int step = 0; step < 2; ++step)
    for (const auto& member : members) group.advance(*model, *member);
  const jobs::Plan planned = jobs::plan_together(*model, sizes);
  EXPECT(peak_of(*model) == planned.peak);
  EXPECT(group.held() == planned.held);
  EXPECT(model->memory().in_use - model->memory().weights == planned.held);
}

TEST("drawings with adapters: planned for any of them in every row, and an adapter itself") {
  const auto model = tiny_model();
  const std::size_t before = model->memory().in_use;
  const auto adapter = adapter_of(model, 200, 1);  // of so high a rank that it makes the peak
  EXPECT(model->memory().in_use > before);
  jobs::Drawing drawing = drawing_input(*model, 2, 3, true, 1);
  const std::size_t plain = jobs::plan_together(*model, {drawing.size()}).peak;
  drawing.adapters = {{{adapter, 0.5f}}, {{adapter, 0.5f}}};
  const std::size_t held = model->memory().in_use;
  const std::size_t planned = jobs::plan_together(*model, {drawing.size()}).peak;
  EXPECT(planned > plain);
  jobs::SampleJob job(model, std::make_shared<jobs::SamplingGroup>(), drawing);
  while (!job.step(kWanted, [](const Sampling&) {})) {}
  EXPECT(model->memory().peak - held == planned);
}

/// Three steps of the only job of its model.
template <class Job>
void expect_planned_steps(std::shared_ptr<Job> job, const jobs::Plan& planned, bool identifier) {
  const Model& model = job->model();
  jobs::StepRun<Job> run(std::move(job), 3);
  std::vector<std::int64_t> steps;
  while (!run.step(kWanted, [&](const jobs::SearchProgress& progress) { steps.push_back(progress.steps); })) {}
  EXPECT(steps == (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT(peak_of(model) == planned.peak);
  // A planned step leaves the identifier's gradient [D] until the next one; a real one has used it up.
  const std::size_t held = model.memory().in_use - model.memory().weights;
  const std::size_t left = identifier ? static_cast<std::size_t>(model.text().config().hidden_size) * sizeof(float) : 0;
  EXPECT(held == planned.held || held + left == planned.held);
}

TEST("searches: the peak of a step, and what is held between steps") {
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::sgd})
    for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::light, Checkpointing::layers})
      for (const bool identifier : {false, true}) {
        const auto model = tiny_model();
        jobs::SearchInput in = search_input(*model, optimizer, identifier);
        in.options.checkpointing = checkpointing;
        const jobs::Plan planned =
            jobs::plan_search(*model, jobs::search_sizes(in.shape, 1, kTokens, 3, identifier ? 1 : 0, in.options));
        expect_planned_steps(std::make_shared<jobs::SearchJob>(model, in, kWanted), planned, identifier);
      }
}

TEST("trainings: the peak of a step, and what is held between steps") {
  using Weights = TrainerOptions::Weights;
  for (const Weights weights : {Weights::none, Weights::kv, Weights::unet})
    for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::light, Checkpointing::layers}) {
      const auto model = tiny_model();
      const bool identifier = weights != Weights::unet;
      const jobs::SearchInput search = search_input(*model, Optimizer::adam, identifier);
      jobs::TrainInput in, sizes;
      static_cast<jobs::DataInput&>(in) = search;
      in.identifier = search.identifier;
      in.options.weights = weights;
      if (weights == Weights::kv) in.options.tensors = {2, 3};
      in.options.checkpointing = checkpointing;
      static_cast<jobs::DataInput&>(sizes) = jobs::data_sizes(in.shape, 1, kTokens, 3);
      if (identifier) sizes.identifier = jobs::identifier_sizes(1, kTokens);
      sizes.options = in.options;
      const jobs::Plan planned = jobs::plan_training(*model, sizes);
      EXPECT(model->memory().in_use == model->memory().weights);
      expect_planned_steps(std::make_shared<jobs::TrainJob>(model, in, kWanted), planned, identifier);

      const auto tight = tiny_model(planned.peak - 1);
      EXPECT_ERROR("CONES_OUT_OF_MEMORY", jobs::TrainJob(tight, in, kWanted));
      EXPECT(peak_of(*tight) == 0);
    }
}

TEST("trimming frees the weights packed for gradients, but not while a search counts on them") {
  const auto model = tiny_model();
  const auto packed = [&] { return model->memory().for_gradients; };
  jobs::GradientInput gradient;
  static_cast<jobs::TrainingInput&>(gradient) = training_input(*model, 2, 1);
  gradient.tensors = kv_names(*model);
  EXPECT(packed() == 0);
  static_cast<void>(jobs::run(jobs::gradient, *model, gradient, kWanted));
  EXPECT(packed() > 0 && packed() == model->memory().in_use - model->memory().weights);
  model->trim();
  EXPECT(packed() == 0 && model->memory().in_use == model->memory().weights && model->memory().cached == 0);

  const jobs::SearchInput in = search_input(*model, Optimizer::sgd, false);
  const jobs::Plan planned = jobs::plan_search(*model, in);
  model->trim();
  auto search = std::make_shared<jobs::SearchJob>(model, in, kWanted);
  for (int step = 0; step < 3; ++step) {
    jobs::SearchRun run(search, 1);
    while (!run.step(kWanted, [](const jobs::SearchProgress&) {})) {}
    const std::size_t before = packed();
    model->trim();
    EXPECT(packed() > 0 && packed() == before);
    EXPECT(model->memory().in_use - model->memory().weights == planned.held);
  }
  search.reset();
  model->trim();
  EXPECT(packed() == 0 && model->memory().in_use == model->memory().weights);
}

TEST("a search whose shut weights grow from none holds all that is planned from its first step on") {
  const auto model = tiny_model();
  jobs::SearchInput in = search_input(*model, Optimizer::sgd, false);
  in.options.shut = 20;
  in.options.ramp = 10;  // the second step shuts two
  const jobs::Plan planned = jobs::plan_search(*model, in);
  const auto search = std::make_shared<jobs::SearchJob>(model, in, kWanted);
  for (int step = 0; step < 3; ++step) {
    jobs::SearchRun run(search, 1);
    while (!run.step(kWanted, [](const jobs::SearchProgress&) {})) {}
    EXPECT(model->memory().in_use - model->memory().weights == planned.held);
  }
  EXPECT(peak_of(*model) == planned.peak);
}

TEST("while none is shut yet, straight-through computes with the weights as they are") {
  const auto model = tiny_model();
  jobs::SearchInput in = search_input(*model, Optimizer::sgd, false);
  in.options.learning_rate = 10;
  in.options.shut = 20;
  in.options.ramp = 1000;  // one from step 25 on
  jobs::SearchJob search(model, in, kWanted);
  const jobs::TrainingInput batch = training_input(*model, 2, 1);
  const double first = search.update(batch, kWanted).loss;
  EXPECT(search.update(batch, kWanted).loss == first);  // though ξ has moved
  in.options.shut = 0;
  jobs::SearchJob scaled(model, in, kWanted);
  EXPECT(scaled.update(batch, kWanted).loss == first);
  EXPECT(scaled.update(batch, kWanted).loss != first);
}

TEST("a search's step on an explicit batch that lacks a byte is refused before it begins") {
  const auto sized = tiny_model();
  const jobs::SearchInput in = search_input(*sized, Optimizer::adam, false);
  const jobs::TrainingInput batch = training_input(*sized, 8, 1);  // more rows than the search's own
  jobs::SearchJob search(sized, in, kWanted);
  for (int step = 0; step < 2; ++step) search.update(batch, kWanted);  // the first packs backward's weights as it goes
  const std::size_t peak = peak_of(*sized);
  EXPECT(peak > jobs::plan_search(*tiny_model(), in).peak);
  const auto tight = tiny_model(peak - 1), enough = tiny_model(peak);
  jobs::SearchJob refused(tight, in, kWanted), taken(enough, in, kWanted);
  const std::size_t before = tight->memory().in_use;
  EXPECT_ERROR("CONES_OUT_OF_MEMORY", refused.update(batch, kWanted));
  EXPECT(tight->memory().in_use == before && refused.state().search().steps_done() == 0);
  for (int step = 0; step < 2; ++step) taken.update(batch, kWanted);
  EXPECT(peak_of(*enough) == peak);
}

TEST("a search that lacks a byte is refused before it begins, and one that has it runs") {
  const auto sized = tiny_model();
  const jobs::SearchInput in = search_input(*sized, Optimizer::adam, false);
  const std::size_t peak = jobs::plan_search(*sized, in).peak;
  const auto tight = tiny_model(peak - 1), enough = tiny_model(peak);
  EXPECT_ERROR("CONES_OUT_OF_MEMORY", jobs::SearchJob(tight, in, kWanted));
  EXPECT(peak_of(*tight) == 0);
  jobs::SearchRun run(std::make_shared<jobs::SearchJob>(enough, in, kWanted), 2);
  while (!run.step(kWanted, [](const jobs::SearchProgress&) {})) {}
  EXPECT(peak_of(*enough) == peak);
}

TEST("what does not fit now is told so that it can wait") {
  const auto sized = tiny_model();
  const jobs::DenoiseInput in = training_input(*sized, 2, 1);
  const std::size_t peak = jobs::plan(jobs::denoise, *sized, in).peak;
  const auto model = tiny_model(peak);
  const Tensor other = model->context(nullptr).empty({64});
  bool waits = false;
  try {
    jobs::run(jobs::denoise, *model, in, kWanted);
  } catch (const NotNow& error) {
    waits = error.code() == std::string("CONES_OUT_OF_MEMORY");
  }
  EXPECT(waits);
  EXPECT(model->memory().in_use - model->memory().weights == 256);
}
