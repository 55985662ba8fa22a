#include "training/search_data.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "ops/choose_rows.h"

namespace cones {

SearchData::SearchData(SearchDataOptions options) : options_(std::move(options)) {
  const auto require = [](bool ok, const char* message) {
    if (!ok) fail("CONES_OPTION_INVALID", message);
  };
  const auto& o = options_;
  const index_t pictures = o.moments.dim(0), captions = o.embeddings.dim(0);
  require(o.subjects >= 1 && o.subjects <= pictures, "A search needs at least one picture of the subject.");
  require(o.subject_batch >= 1 && o.prior_batch >= 0, "Batch sizes must be positive.");
  require(o.prior_batch == 0 || o.subjects < pictures, "Prior preservation needs prior pictures.");
  require(static_cast<index_t>(o.captions.size()) == pictures, "Every picture needs its list of captions.");
  for (const auto& list : o.captions) {
    require(!list.empty(), "Every picture needs a caption.");
    for (int caption : list) require(caption >= 0 && caption < captions, "A caption's index is out of range.");
  }
  require(0 <= o.min_timestep && o.min_timestep < o.max_timestep &&
              static_cast<std::size_t>(o.max_timestep) <= o.alphas_cumprod.size(),
          "The range of timesteps must lie within the training schedule.");
}

TrainingBatch SearchData::batch(const Context& context, std::int64_t step) const {
  const auto& o = options_;
  const index_t rows = o.subject_batch + o.prior_batch;
  const index_t priors = o.moments.dim(0) - o.subjects;
  const index_t normals = o.moments.size() / o.moments.dim(0);  // 2·h·w·C: posterior and ε

  TrainingBatch batch;
  std::vector<NoisedRow> noised;
  for (index_t r = 0; r < rows; ++r) {
    const bool subject = r < o.subject_batch;
    const index_t turn = subject ? step * o.subject_batch + r : step * o.prior_batch + (r - o.subject_batch);
    const index_t picture = subject ? turn % o.subjects : o.subjects + turn % priors;
    const auto row = static_cast<std::uint64_t>(step * rows + r);

    // Draws of a stream of their own, so that they are independent of the noise.
    std::uint32_t draw[2];
    philox_uint32(o.seed ^ 0x9e3779b97f4a7c15u, 2 * row, draw, 2);
    const int span = o.max_timestep - o.min_timestep;
    const int timestep = o.min_timestep + static_cast<int>((std::uint64_t{draw[0]} * static_cast<unsigned>(span)) >> 32);
    const auto& captions = o.captions[static_cast<std::size_t>(picture)];
    const int caption = captions[(std::uint64_t{draw[1]} * captions.size()) >> 32];

    noised.push_back({picture, timestep, {o.seed, row * static_cast<std::uint64_t>(normals)}});
    const auto known = std::ranges::find(batch.captions, caption);
    batch.texts.push_back(static_cast<int>(known - batch.captions.begin()));
    if (known == batch.captions.end()) batch.captions.push_back(caption);
    batch.weights.push_back(subject ? 1.0 / o.subject_batch : o.prior_weight / o.prior_batch);
  }
  // A plan is for the most that a batch can have.
  if (context.planning()) batch.captions.assign(static_cast<std::size_t>(std::min(rows, o.embeddings.dim(0))), 0);
  const index_t texts = static_cast<index_t>(batch.captions.size());
  if (texts == rows && !context.planning()) batch.texts.clear();
  batch.embeddings = choose_rows_forward(context, o.embeddings, batch.captions);
  make_noised_rows(context, o.moments, o.latent_scale, o.alphas_cumprod, o.prediction, noised, batch);
  return batch;
}

}  // namespace cones
