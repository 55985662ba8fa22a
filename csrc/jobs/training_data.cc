#include "jobs/training_data.h"

#include <utility>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones::jobs {

SearchData upload_data(const Context& context, const Model& model, const DataInput& in) {
  if (in.captions == 0) fail("CONES_OPTION_INVALID", "The text states of at least one caption are needed.");
  SearchDataOptions data = in.data;
  data.moments = upload_channels_last(context, in.moments, in.shape, DType::f32);
  data.embeddings =
      upload(context, in.embeddings, {in.captions, in.tokens, model.unet().config().cross_attention_dim});
  return SearchData(std::move(data));
}

DataInput data_sizes(const Shape& shape, index_t captions, index_t tokens, int rows) {
  DataInput in{.shape = shape, .moments = {}, .captions = captions, .tokens = tokens, .embeddings = {}, .data = {}};
  in.data.subjects = shape[0];
  in.data.captions.assign(static_cast<std::size_t>(shape[0]), {0});
  in.data.subject_batch = rows;
  in.data.prior_batch = 0;
  in.data.alphas_cumprod = {1.0};
  in.data.max_timestep = 1;
  return in;
}

IdentifierOptions identifier_sizes(int rows, index_t tokens, int count) {
  IdentifierOptions learned;
  learned.tokens.assign(static_cast<std::size_t>(count), 0);
  learned.starts.assign(static_cast<std::size_t>(count), {0});
  learned.captions.assign(static_cast<std::size_t>(rows), 0);
  learned.ids.assign(static_cast<std::size_t>(rows * tokens), 0);
  learned.most_rows = rows;
  return learned;
}

SearchProgress progress_of(std::int64_t steps, const StepResult& result, int subjects, std::chrono::steady_clock::time_point begin) {
  const int rows = static_cast<int>(result.rows.size());
  double subject = 0, prior = 0;
  for (int r = 0; r < rows; ++r) (r < subjects ? subject : prior) += result.rows[static_cast<std::size_t>(r)];
  subject /= subjects;
  if (const int priors = rows - subjects; priors > 0) prior /= priors;
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
  return {steps, result.loss, subject, prior, time.count()};
}

}  // namespace cones::jobs
