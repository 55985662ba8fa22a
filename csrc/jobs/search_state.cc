#include "jobs/search_state.h"

#include <chrono>

namespace cones::jobs {

SearchInput search_sizes(const Shape& shape, index_t captions, index_t tokens, int rows, int identifier_rows,
                         const SearchOptions& options) {
  SearchInput in;
  static_cast<DataInput&>(in) = data_sizes(shape, captions, tokens, rows);
  in.options = options;
  if (identifier_rows > 0) in.identifier = identifier_sizes(identifier_rows, tokens);
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
  return progress_of(search_.steps_done(), result, data_.options().subject_batch, begin);
}

StepResult SearchState::update(const Context& context, const Model& model, const TrainingInput& in) {
  return search_.step(context, in.upload_batch(context, model));
}

std::vector<std::byte> SearchState::save(const Context& context) const { return save_with(context, search_, identifier()); }

void SearchState::load(const Context& context, std::span<const std::byte> state) {
  load_with(context, state, search_, identifier_ ? &*identifier_ : nullptr);
}

}  // namespace cones::jobs
