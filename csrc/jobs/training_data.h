// What searches and trainings learn from, as it comes from outside, and what a step of either tells.
#pragma once

#include <chrono>
#include <vector>

#include "model/model.h"
#include "training/learned_identifier.h"
#include "training/search_data.h"
#include "training/training_pass.h"

namespace cones::jobs {

struct DataInput {
  Shape shape;                    // of all pictures' moments, [N, h, w, 2C]
  std::vector<float> moments;     // [N, 2C, h, w]
  index_t captions = 0;           // P
  index_t tokens = 0;             // T
  std::vector<float> embeddings;  // text states of all captions [P, T, D]
  SearchDataOptions data;         // but for `moments` and `embeddings`
};

/// CONES_OPTION_INVALID when the input does not fit together.
SearchData upload_data(const Context& context, const Model& model, const DataInput& in);

/// Sizes only, for plans: `rows` per step.
DataInput data_sizes(const Shape& shape, index_t captions, index_t tokens, int rows);
/// The same of `count` learned identifiers; `rows`: the most different captions of a step that name one.
IdentifierOptions identifier_sizes(int rows, index_t tokens, int count = 1);

/// One step, for whoever watches.
struct SearchProgress {
  std::int64_t steps;           // so far
  double loss, subject, prior;  // L_con, L_sub, L_pr
  double milliseconds;
};
/// Of a step that began at `begin`, whose first `subjects` rows show the subject.
SearchProgress progress_of(std::int64_t steps, const StepResult& result, int subjects, std::chrono::steady_clock::time_point begin);

}  // namespace cones::jobs
