#include "jobs/search_state.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones::jobs {
namespace {

SearchData upload_data(const Context& context, const Model& model, const SearchInput& in) {
  if (in.captions == 0) fail("CONES_OPTION_INVALID", "A search needs the text states of at least one caption.");
  SearchDataOptions data = in.data;
  data.moments = upload_channels_last(context, in.moments, in.shape, DType::f32);
  data.embeddings =
      upload(context, in.embeddings, {in.captions, in.tokens, model.unet().config().cross_attention_dim});
  return SearchData(std::move(data));
}

}  // namespace

SearchInput search_sizes(const Shape& shape, index_t captions, index_t tokens, int rows, int identifier_rows,
                         const SearchOptions& options) {
  SearchInput in{.shape = shape, .moments = {}, .captions = captions, .tokens = tokens, .embeddings = {}, .data = {},
                 .options = options, .identifier = {}};
  in.data.subjects = shape[0];
  in.data.captions.assign(static_cast<std::size_t>(shape[0]), {0});
  in.data.subject_batch = rows;
  in.data.prior_batch = 0;
  in.data.alphas_cumprod = {1.0};
  in.data.max_timestep = 1;
  if (identifier_rows > 0) {
    IdentifierOptions& learned = in.identifier.emplace();
    learned.start = {0};
    learned.captions.assign(static_cast<std::size_t>(identifier_rows), 0);
    learned.ids.assign(static_cast<std::size_t>(identifier_rows * tokens), 0);
    learned.most_rows = identifier_rows;
  }
  return in;
}

SearchState::SearchState(const Context& context, const Model& model, const SearchInput& in)
    : data_(upload_data(context, model, in)), search_(context, model.unet(), in.options) {
  if (in.identifier) identifier_.emplace(context, model.text(), *in.identifier);
}

SearchProgress SearchState::step(const Context& context) {
  const auto begin = std::chrono::steady_clock::now();
  const TrainingBatch batch = data_.batch(context, search_.steps_done());
  const StepResult result = search_.step(context, batch, identifier_ ? &*identifier_ : nullptr);
  const int rows = static_cast<int>(result.rows.size()), subjects = data_.options().subject_batch;
  double subject = 0, prior = 0;
  for (int r = 0; r < rows; ++r) (r < subjects ? subject : prior) += result.rows[static_cast<std::size_t>(r)];
  subject /= subjects;
  if (const int priors = rows - subjects; priors > 0) prior /= priors;
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
  return {search_.steps_done(), result.loss, subject, prior, time.count()};
}

StepResult SearchState::update(const Context& context, const Model& model, const TrainingInput& in) {
  in.check();
  const TrainingBatch batch{.latents = in.upload_latents(context, context.backend->activation()),
                            .target = upload_channels_last(context, in.target, in.shape, DType::f32),
                            .timesteps = in.timesteps,
                            .weights = in.weights,
                            .embeddings = in.upload_text(context, model),
                            .texts = {},
                            .captions = {}};
  return search_.step(context, batch);
}

std::vector<std::byte> SearchState::save(const Context& context) const {
  std::vector<std::byte> state = search_.save(context);
  if (identifier_) {
    const std::vector<std::byte> more = identifier_->save(context);
    state.insert(state.end(), more.begin(), more.end());
  }
  return state;
}

void SearchState::load(const Context& context, std::span<const std::byte> state) {
  if (!identifier_) return search_.load(context, state);
  const std::size_t own = std::min(search_.state_size(), state.size());
  const std::vector<std::byte> before = identifier_->save(context);
  identifier_->load(context, state.subspan(own));
  try {
    search_.load(context, state.first(own));
  } catch (...) {
    identifier_->load(context, before);
    throw;
  }
}

}  // namespace cones::jobs
