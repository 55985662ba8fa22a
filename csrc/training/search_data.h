// The pictures, captions and noise that a concept search, or a training, learns from (Eq. 2–4).
//
// The batch of step k is a function of (seed, k) alone, so it resumes bit-exactly from any step.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/training_batch.h"

namespace cones {

struct SearchDataOptions {
  Tensor moments;        // [N, h, w, 2C], the subject's pictures first
  index_t subjects = 0;  // how many of them show the subject; the others are prior pictures
  double latent_scale = 0.18215;
  Tensor embeddings;                     // text states of all captions [P, T, D]
  std::vector<std::vector<int>> captions;  // per picture, indices into embeddings
  int subject_batch = 1, prior_batch = 1;
  double prior_weight = 1;  // λ
  std::vector<double> alphas_cumprod;
  Prediction prediction = Prediction::epsilon;
  int min_timestep = 0, max_timestep = 1000;  // drawn uniformly from [min, max)
  std::uint64_t seed = 0;
};

class SearchData {
 public:
  /// CONES_OPTION_INVALID when the options do not fit together.
  explicit SearchData(SearchDataOptions options);

  /// Rows: subject_batch subject rows, then prior_batch prior rows. Row weights 1/subject_batch and λ/prior_batch make
  /// the weighted sum of row losses L_con = L_sub + λ·L_pr. Pictures take turns; captions, timesteps and noise are drawn.
  TrainingBatch batch(const Context& context, std::int64_t step) const;

  const SearchDataOptions& options() const { return options_; }

 private:
  SearchDataOptions options_;
};

}  // namespace cones
