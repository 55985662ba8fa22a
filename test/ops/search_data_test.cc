// What a step of the search learns from (Eq. 2–4): whose turn it is, which captions and timesteps are drawn, how rows count.
#include "training/search_data.h"

#include <cmath>
#include <set>

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

constexpr index_t kSubjects = 3, kPriors = 2, kPictures = kSubjects + kPriors, kTokens = 2, kWidth = 4, kCaptions = 4;

/// Picture i is i + 1 everywhere, with next to no variance; caption i's states are all i.
SearchDataOptions options(const Context& context) {
  SearchDataOptions o;
  o.moments = context.empty({kPictures, 2, 2, 2});
  for (index_t i = 0; i < o.moments.size(); ++i) o.moments.host()[i] = i % 2 ? -100.0f : static_cast<float>(i / 8 + 1);
  o.subjects = kSubjects;
  o.latent_scale = 0.5;
  o.embeddings = context.empty({kCaptions, kTokens, kWidth});
  for (index_t i = 0; i < o.embeddings.size(); ++i) o.embeddings.host()[i] = static_cast<float>(i / (kTokens * kWidth));
  o.captions = {{0}, {1}, {0, 1}, {2}, {2, 3}};
  o.subject_batch = 2;
  o.prior_batch = 3;
  o.prior_weight = 0.25;
  for (int t = 0; t < 10; ++t) o.alphas_cumprod.push_back(0.95 - 0.09 * t);
  o.min_timestep = 4;
  o.max_timestep = 8;
  o.seed = 11;
  return o;
}

/// The picture of row r, from what the UNet sees and should answer: z = (x − √(1 − a) ε) / √a.
index_t picture_of(const TrainingBatch& batch, const SearchDataOptions& o, index_t r) {
  const double a = o.alphas_cumprod[static_cast<std::size_t>(batch.timesteps[static_cast<std::size_t>(r)])];
  const double x = static_cast<double>(batch.latents.host()[r * 4]), noise = static_cast<double>(batch.target.host()[r * 4]);
  return std::llround((x - std::sqrt(1 - a) * noise) / std::sqrt(a) / o.latent_scale) - 1;
}

int caption_of(const TrainingBatch& batch, index_t r) {
  const index_t text = batch.texts.empty() ? r : batch.texts[static_cast<std::size_t>(r)];
  return static_cast<int>(batch.embeddings.host()[text * kTokens * kWidth]);
}

}  // namespace

TEST("rows make L_sub + lambda L_pr: means over either batch, the prior's times lambda") {
  const Context context = make_context();
  const TrainingBatch batch = SearchData(options(context)).batch(context, 3);
  EXPECT((batch.weights == std::vector<double>{1.0 / 2, 1.0 / 2, 0.25 / 3, 0.25 / 3, 0.25 / 3}));
}

TEST("pictures take turns, the subject's and the prior's apart") {
  const Context context = make_context();
  const SearchDataOptions o = options(context);
  const SearchData data(o);
  std::vector<int> seen(kPictures);
  for (int step = 0; step < 6; ++step) {
    const TrainingBatch batch = data.batch(context, step);
    EXPECT(batch.latents.dim(0) == 5);
    for (index_t r = 0; r < 5; ++r) {
      const index_t picture = picture_of(batch, o, r);
      EXPECT(r < o.subject_batch ? 0 <= picture && picture < kSubjects : kSubjects <= picture && picture < kPictures);
      ++seen[static_cast<std::size_t>(picture)];
    }
  }
  EXPECT((seen == std::vector<int>{4, 4, 4, 9, 9}));  // 6 steps × 2 rows, 6 × 3
}

TEST("captions are a picture's own, all of them; timesteps are all of [min, max)") {
  const Context context = make_context();
  const SearchDataOptions o = options(context);
  const SearchData data(o);
  std::set<std::pair<index_t, int>> captions;
  std::set<double> timesteps;
  for (int step = 0; step < 60; ++step) {
    const TrainingBatch batch = data.batch(context, step);
    for (index_t r = 0; r < 5; ++r) captions.emplace(picture_of(batch, o, r), caption_of(batch, r));
    timesteps.insert(batch.timesteps.begin(), batch.timesteps.end());
  }
  EXPECT((captions == std::set<std::pair<index_t, int>>{{0, 0}, {1, 1}, {2, 0}, {2, 1}, {3, 2}, {4, 2}, {4, 3}}));
  EXPECT((timesteps == std::set<double>{4, 5, 6, 7}));
}

TEST("noise differs from row to row and step to step, and is the same again for the same seed and step") {
  const Context context = make_context();
  std::set<float> noise;
  const SearchData data(options(context));
  for (int step = 0; step < 4; ++step) {
    const TrainingBatch batch = data.batch(context, step), again = data.batch(context, step);
    for (index_t i = 0; i < batch.target.size(); ++i) noise.insert(batch.target.host()[i]);
    EXPECT(to_vector(batch.latents) == to_vector(again.latents));
    EXPECT(batch.timesteps == again.timesteps && batch.captions == again.captions);
  }
  EXPECT(noise.size() > 4 * 5 * 4 - 3);
  SearchDataOptions other = options(context);
  other.seed = 12;
  EXPECT(to_vector(SearchData(other).batch(context, 0).target) != to_vector(data.batch(context, 0).target));
}

TEST("what does not fit together is refused") {
  const Context context = make_context();
  const auto refused = [&](auto change) {
    SearchDataOptions o = options(context);
    change(o);
    EXPECT_ERROR("CONES_OPTION_INVALID", SearchData(std::move(o)));
  };
  refused([](auto& o) { o.subjects = 0; });
  refused([](auto& o) { o.subjects = kPictures; });  // no prior pictures for a prior batch
  refused([](auto& o) { o.captions.pop_back(); });
  refused([](auto& o) { o.captions[1].clear(); });
  refused([](auto& o) { o.captions[1] = {kCaptions}; });
  refused([](auto& o) { o.max_timestep = 11; });
  refused([](auto& o) { o.min_timestep = o.max_timestep; });
}
