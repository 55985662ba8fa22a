// Drawings that take their steps together: nobody's latents depend on who else is there, and nobody gets in who does not fit.
#include "jobs/sampling_group.h"

#include <algorithm>
#include <memory>

#include "harness.h"
#include "jobs/job_queue.h"
#include "jobs/sample.h"
#include "ops/transfer.h"
#include "tiny_model.h"

using namespace cones;
using namespace cones::test;
using jobs::Drawing;
using jobs::SampleJob;
using jobs::SamplingGroup;

namespace {

const std::atomic<bool> kWanted = false;  // the flag of a job that nobody aborts
const SamplingGroup::Stepped kSilent = [](const Sampling&) {};

std::vector<float> draw_alone(const std::shared_ptr<const Model>& model, const Drawing& drawing) {
  SampleJob job(model, std::make_shared<SamplingGroup>(), drawing);
  while (!job.step(kWanted, kSilent)) {}
  return job.latents();
}

/// Four drawings of one size that differ in everything else.
std::vector<Drawing> four_drawings(const std::shared_ptr<const Model>& model) {
  std::vector<Drawing> drawings{drawing_input(*model, 1, 5, true, 10), drawing_input(*model, 2, 3, false, 20),
                                drawing_input(*model, 1, 4, true, 30), drawing_input(*model, 3, 1, false, 40)};
  const auto mask = mask_of(model, 3);
  drawings[1].masks = {mask, nullptr};
  drawings[2].masks = {mask_of(model, 5)};
  const auto adapter = adapter_of(model, 3, 50);
  drawings[1].adapters = {{}, {{adapter, 0.5f}}};
  drawings[2].adapters = {{{adapter, 1}, {adapter_of(model, 2, 60), -0.3f}}};
  return drawings;
}

Drawing with_longer_text(const Model& model, Drawing drawing) {
  drawing.tokens += 1;
  drawing.embeddings = floats(drawing.text_shape(model).size(), 3);
  if (drawing.guided) drawing.negative = floats(drawing.text_shape(model).size(), 4);
  return drawing;
}

/// A step that is expected to throw NotNow.
bool has_to_wait(SampleJob& job) {
  try {
    job.step(kWanted, kSilent);
  } catch (const NotNow&) {
    return true;
  }
  return false;
}

}  // namespace

TEST("together, everybody draws what it draws alone") {
  const auto model = tiny_model();
  const std::vector<Drawing> drawings = four_drawings(model);
  const auto group = std::make_shared<SamplingGroup>();
  std::vector<SampleJob> together;
  for (const Drawing& drawing : drawings) together.emplace_back(model, group, drawing);
  std::vector<std::vector<float>> drawn(drawings.size());
  for (std::size_t left = drawings.size(); left > 0;)  // in turn, as the queue calls them
    for (std::size_t i = 0; i < drawings.size(); ++i)
      if (drawn[i].empty() && together[i].step(kWanted, kSilent)) {
        drawn[i] = together[i].latents();
        --left;
      }
  for (std::size_t i = 0; i < drawings.size(); ++i) EXPECT(drawn[i] == draw_alone(model, drawings[i]));
}

TEST("drawings from pictures, too, which fit as planned") {
  for (const bool inpainting : {false, true}) {
    const auto sized = inpainting ? tiny_inpainting_model() : tiny_model();
    const std::vector<Drawing> drawings{edit_input(*sized, 2, 3, inpainting, false, 2), edit_input(*sized, 1, 5, false, true, 3)};
    std::vector<jobs::DrawingSize> sizes;
    for (const Drawing& drawing : drawings) sizes.push_back(drawing.size());
    const std::size_t peak = jobs::plan_together(*sized, sizes).peak;
    for (const std::size_t limit : {peak, peak - 1}) {
      const auto model = inpainting ? tiny_inpainting_model(limit) : tiny_model(limit);
      const auto group = std::make_shared<SamplingGroup>();
      SampleJob first(model, group, drawings[0]), second(model, group, drawings[1]);
      EXPECT(!first.step(kWanted, kSilent));
      if (limit < peak) {
        EXPECT(has_to_wait(second));
        continue;
      }
      bool done[] = {false, false};
      while (!done[0] || !done[1]) {
        if (!done[1]) done[1] = second.step(kWanted, kSilent);
        if (!done[0]) done[0] = first.step(kWanted, kSilent);
      }
      EXPECT(peak_of(*model) <= peak);
      EXPECT(first.latents() == draw_alone(sized, drawings[0]));
      EXPECT(second.latents() == draw_alone(sized, drawings[1]));
    }
  }
}

TEST("what is known of a picture is all that is left where nothing is painted") {
  const auto model = tiny_model();
  Drawing drawing = edit_input(*model, 2, 3, false, true, 1);
  drawing.shares.back() = {1, 0};
  const std::vector<float> drawn = draw_alone(model, drawing);
  const std::size_t positions = kSide * kSide;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const std::size_t picture = i / (4 * positions), position = i % positions;
    if (drawing.repaint[picture * positions + position] == 0) kept += drawn[i] == drawing.image[i] ? 1 : 0;
    else EXPECT(drawn[i] != drawing.image[i]);
  }
  EXPECT(kept == 4 * static_cast<std::size_t>(std::ranges::count(drawing.repaint, 0.0f)));
}

TEST("pictures of several regions go with others, and are what they are alone") {
  const auto model = tiny_model();
  std::vector<Drawing> drawings{regional_input(*model, 2, 2, true, 50), drawing_input(*model, 1, 3, true, 60),
                                regional_input(*model, 1, 3, false, 70)};
  drawings[0].masks = {mask_of(model, 3), nullptr, mask_of(model, 5), mask_of(model, 3)};
  const auto group = std::make_shared<SamplingGroup>();
  std::vector<SampleJob> together;
  for (const Drawing& drawing : drawings) together.emplace_back(model, group, drawing);
  EXPECT(drawings[0].size().rows() == 8 && drawings[2].size().rows() == 3);
  std::vector<bool> ended(drawings.size());
  while (!ended[0] || !ended[1] || !ended[2])
    for (std::size_t i = 0; i < drawings.size(); ++i)
      if (!ended[i]) ended[i] = together[i].step(kWanted, kSilent);
  for (std::size_t i = 0; i < drawings.size(); ++i) EXPECT(together[i].latents() == draw_alone(model, drawings[i]));
}

TEST("a window is a picture of its own where nothing else is blended in") {
  const auto model = tiny_model();
  // Two regions side by side, each of which sees its half: as two narrow pictures with the halves of the noise.
  Drawing both = regional_input(*model, 1, 2, true, 90);
  const index_t channels = both.shape[3], height = both.shape[1], width = both.shape[2], half = width / 2;
  both.windows = {height, half, {{0, 0}, {0, half}}};
  for (index_t r = 0; r < 2; ++r)
    for (index_t i = 0; i < height * width; ++i)
      both.weights[static_cast<std::size_t>(r * height * width + i)] = (i % width < half) == (r == 0) ? 1.0f : 0.0f;
  for (SolverStep& step : both.steps) step.noise = 0;
  const std::vector<float> drawn = draw_alone(model, both);
  for (index_t r = 0; r < 2; ++r) {
    Drawing own = both;
    own.regions = 1;
    own.windows = {};
    own.weights.clear();
    own.shape = {1, height, half, channels};
    const auto narrow = [&](const std::vector<float>& from) {
      std::vector<float> to;
      for (index_t i = 0; i < channels * height; ++i)
        to.insert(to.end(), from.begin() + i * width + r * half, from.begin() + i * width + (r + 1) * half);
      return to;
    };
    const auto text = static_cast<std::ptrdiff_t>(both.embeddings.size() / 2);
    own.latents = narrow(both.latents);
    own.embeddings.assign(both.embeddings.begin() + r * text, both.embeddings.begin() + (r + 1) * text);
    own.negative.assign(both.negative.begin() + r * text, both.negative.begin() + (r + 1) * text);
    EXPECT(draw_alone(model, own) == narrow(drawn));
  }
}

TEST("a region everywhere is the plain picture, whatever the others say") {
  const auto model = tiny_model();
  const auto shut = mask_of(model, 3);
  for (const bool guided : {false, true}) {
    Drawing plain = drawing_input(*model, 2, 3, guided, 80), regional = regional_input(*model, 2, 2, guided, 80);
    plain.masks = {shut, shut};
    regional.masks = {shut, nullptr, nullptr, shut};  // the first picture is its first region, the second its second
    const auto text = static_cast<std::ptrdiff_t>(plain.embeddings.size() / 2);
    const auto put = [&](std::vector<float>& to, const std::vector<float>& from) {
      std::copy(from.begin(), from.begin() + text, to.begin());
      std::copy(from.begin() + text, from.end(), to.begin() + 3 * text);
    };
    put(regional.embeddings, plain.embeddings);
    if (guided) put(regional.negative, plain.negative);
    const std::size_t positions = regional.weights.size() / 4;
    for (std::size_t i = 0; i < regional.weights.size(); ++i)
      regional.weights[i] = i / positions == 0 || i / positions == 3 ? 1.0f : 0.0f;
    EXPECT(draw_alone(model, regional) == draw_alone(model, plain));
  }
}

TEST("a step is everybody's, and counts once; who is finished takes none more") {
  const auto model = tiny_model();
  SamplingGroup group;
  std::vector<std::size_t> first, second;
  const auto one = group.join(*model, drawing_input(*model, 1, 3, true, 1), [&](const Sampling& after) { first.push_back(after.steps_done()); }, kWanted);
  EXPECT(!group.advance(*model, *one));
  const auto two = group.join(*model, drawing_input(*model, 1, 2, true, 2), [&](const Sampling& after) { second.push_back(after.steps_done()); }, kWanted);
  EXPECT(first.size() == 1 && second.empty());
  EXPECT(!group.advance(*model, *one));  // for both
  EXPECT(first.size() == 2 && second.size() == 1);
  EXPECT(group.advance(*model, *two));  // for both
  EXPECT(first.size() == 3 && second.size() == 2);
  EXPECT(group.advance(*model, *one));
  EXPECT(group.advance(*model, *two));
  EXPECT(first == (std::vector<std::size_t>{1, 2, 3}));
  EXPECT(second == (std::vector<std::size_t>{1, 2}));
}

TEST("other sizes and aborted drawings stay where they are") {
  const auto model = tiny_model();
  SamplingGroup group;
  std::atomic<bool> aborted = false;
  int steps = 0;
  const auto count = [&](const Sampling&) { ++steps; };
  const Drawing longer = with_longer_text(*model, drawing_input(*model, 1, 2, false, 3));
  const auto one = group.join(*model, drawing_input(*model, 1, 2, false, 1), kSilent, kWanted);
  const auto other = group.join(*model, longer, count, kWanted);
  const auto gone = group.join(*model, drawing_input(*model, 1, 2, false, 2), count, aborted);
  aborted = true;
  group.advance(*model, *one);
  EXPECT(one->sampling.steps_done() == 1);
  EXPECT(steps == 0);
}

TEST("drawings that just fit together are let in, and no byte more is asked for") {
  const auto sized = tiny_model();
  const Drawing drawing = drawing_input(*sized, 1, 3, true, 1), longer = with_longer_text(*sized, drawing);
  const jobs::Plan two = jobs::plan_together(*sized, {drawing.size(), drawing.size()});
  for (const bool enough : {false, true}) {
    const auto model = tiny_model(enough ? two.peak : two.peak - 1);
    SamplingGroup group;
    const auto first = group.join(*model, drawing, kSilent, kWanted);
    group.advance(*model, *first);
    if (!enough) {
      EXPECT_ERROR("CONES_OUT_OF_MEMORY", group.join(*model, drawing, kSilent, kWanted));
      continue;
    }
    const auto second = group.join(*model, drawing, kSilent, kWanted);
    EXPECT(group.held() == two.held);
    for (const auto& caller : {first, second}) group.advance(*model, *caller);
    EXPECT(first->sampling.finished() && second->sampling.steps_done() == 2);
    EXPECT(peak_of(*model) == two.peak);
  }
  // Those of other sizes take steps of their own: beside what they hold, the larger of the two is enough.
  const jobs::Plan one = jobs::plan_together(*sized, {drawing.size()}), other = jobs::plan_together(*sized, {longer.size()});
  const auto model = tiny_model(one.held + other.held + std::max(one.peak - one.held, other.peak - other.held));
  SamplingGroup group;
  const auto first = group.join(*model, drawing, kSilent, kWanted);
  group.advance(*model, *first);
  const auto second = group.join(*model, longer, kSilent, kWanted);
  EXPECT(group.held() == one.held + other.held);
  while (!group.advance(*model, *first)) {}
  while (!group.advance(*model, *second)) {}
  EXPECT(peak_of(*model) <= model->memory().limit - model->memory().weights);
}

TEST("who does not fit in memory waits until somebody has ended") {
  const std::size_t alone = jobs::plan_together(*tiny_model(), {drawing_input(*tiny_model(), 2, 2, true, 1).size()}).peak;
  const auto model = tiny_model(alone);
  const auto group = std::make_shared<SamplingGroup>();
  const Drawing drawing = drawing_input(*model, 2, 2, true, 1);
  auto first = std::make_unique<SampleJob>(model, group, drawing);
  SampleJob second(model, group, drawing);
  EXPECT(!first->step(kWanted, kSilent));
  EXPECT(has_to_wait(second));
  EXPECT(group->held() == model->memory().in_use - model->memory().weights);
  EXPECT(first->step(kWanted, kSilent));
  EXPECT(has_to_wait(second));  // the finished one is still there
  const std::vector<float> drawn = first->latents();
  first = nullptr;
  EXPECT(group->held() == 0);
  while (!second.step(kWanted, kSilent)) {}
  EXPECT(second.latents() == drawn);
  EXPECT(peak_of(*model) == alone);
}

TEST("nor do more callers go together than have a picture each in sixteen rows") {
  const auto model = tiny_model();
  const auto group = std::make_shared<SamplingGroup>();
  std::vector<std::unique_ptr<SampleJob>> eight;
  for (unsigned i = 0; i < 8; ++i) {
    eight.push_back(std::make_unique<SampleJob>(model, group, drawing_input(*model, 2, 30, true, i)));
    EXPECT(!eight.back()->step(kWanted, kSilent));
  }
  SampleJob one(model, group, drawing_input(*model, 1, 2, false, 3));
  EXPECT(has_to_wait(one));
  eight.pop_back();
  EXPECT(!one.step(kWanted, kSilent));
  SampleJob many(model, std::make_shared<SamplingGroup>(), drawing_input(*model, 20, 1, false, 4));
  EXPECT(many.step(kWanted, kSilent));  // alone, any number
}

TEST("a drawing of the wrong sizes is refused, and leaves no trace") {
  const auto model = tiny_model();
  SamplingGroup group;
  Drawing wrong = drawing_input(*model, 1, 2, true, 1);
  wrong.negative.pop_back();
  EXPECT_ERROR("CONES_OPTION_INVALID", group.join(*model, wrong, kSilent, kWanted));
  wrong = drawing_input(*model, 1, 2, true, 1);
  wrong.seeds.push_back(1);
  EXPECT_ERROR("CONES_OPTION_INVALID", group.join(*model, wrong, kSilent, kWanted));
  wrong = regional_input(*model, 1, 2, true, 1);
  wrong.weights.pop_back();
  EXPECT_ERROR("CONES_OPTION_INVALID", group.join(*model, wrong, kSilent, kWanted));
  EXPECT(group.held() == 0 && model->memory().in_use == model->memory().weights);
}

TEST("on a queue, drawings beyond the memory come out one after another, and the same") {
  const std::size_t pair = jobs::plan_together(*tiny_model(), {drawing_input(*tiny_model(), 1, 2, true, 1).size(),
                                                              drawing_input(*tiny_model(), 1, 2, true, 1).size()}).peak;
  const auto model = tiny_model(pair);
  const auto group = std::make_shared<SamplingGroup>();
  constexpr int kCalls = 5;
  std::vector<std::vector<float>> drawn(kCalls);
  std::vector<int> order;
  std::atomic<int> ended = 0;
  {
    jobs::JobQueue queue;
    for (int i = 0; i < kCalls; ++i) {
      const auto call = static_cast<std::size_t>(i);
      queue.add({.step =
                     [&, i, call, job = SampleJob(model, group, drawing_input(*model, 1, 3, true, 10u * static_cast<unsigned>(i)))](
                         const std::atomic<bool>& aborted) mutable {
                       if (!job.step(aborted, kSilent)) return false;
                       drawn[call] = job.latents();
                       order.push_back(i);
                       return true;
                     },
                 .ended = [&](const auto&) { ++ended; }});
    }
    while (ended < kCalls) std::this_thread::yield();
  }
  EXPECT(order == (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT(peak_of(*model) <= pair);
  for (int i = 0; i < kCalls; ++i)
    EXPECT(drawn[static_cast<std::size_t>(i)] == draw_alone(model, drawing_input(*model, 1, 3, true, 10u * static_cast<unsigned>(i))));
}

TEST("one picture behind forty has its share of every step, and all are what they are alone") {
  const auto model = tiny_model();
  SamplingGroup group;
  const Drawing large = drawing_input(*model, 4, 6, true, 1), other = drawing_input(*model, 5, 6, false, 50), small = drawing_input(*model, 1, 6, true, 90);
  std::size_t steps = 0;  // of the small one
  const auto one = group.join(*model, large, kSilent, kWanted), two = group.join(*model, other, kSilent, kWanted);
  group.advance(*model, *one);
  const auto last = group.join(*model, small, [&](const Sampling& after) { steps = after.steps_done(); }, kWanted);
  for (std::size_t n = 1; n <= 6; ++n) {
    group.advance(*model, n % 2 == 0 ? *one : *two);
    EXPECT(steps == n);
  }
  EXPECT(last->sampling.finished() && !one->sampling.finished());
  while (!group.advance(*model, *one)) {}
  while (!group.advance(*model, *two)) {}
  const Context context = model->context(nullptr);
  const auto drawn = [&](const auto& member) { return download_channels_first(context, member->sampling.latents(context)); };
  EXPECT(drawn(one) == draw_alone(model, large));
  EXPECT(drawn(two) == draw_alone(model, other));
  EXPECT(drawn(last) == draw_alone(model, small));
}

TEST("time is shared between callers whose sizes do not go together, too") {
  const auto model = tiny_model();
  double now = 0;
  SamplingGroup group([&] { return now += 0.5; });  // a step takes half a second, whatever it is
  std::size_t first = 0, second = 0;
  const Drawing drawing = drawing_input(*model, 1, 40, false, 1);
  const auto one = group.join(*model, drawing, [&](const Sampling& after) { first = after.steps_done(); }, kWanted);
  const auto two = group.join(*model, with_longer_text(*model, drawing), [&](const Sampling& after) { second = after.steps_done(); }, kWanted);
  for (int step = 0; step < 20; ++step) group.advance(*model, *one);
  EXPECT(first == 10 && second == 10);
  EXPECT(group.recent().rows_per_step == 1);
}
