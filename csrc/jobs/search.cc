#include "jobs/search.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones::jobs {

Plan plan_search(const Model& model, const SearchInput& in) {
  return plan_of(model.context(nullptr), [&](const Context& context) {
    auto state = std::make_unique<SearchState>(context, model, in);
    // The first step packs backward's weights as it goes; all later ones have them from the start.
    for (int step = 0; step < 2; ++step) state->step(context);
    return state;
  });
}

SearchJob::SearchJob(std::shared_ptr<const Model> model, const SearchInput& in, const std::atomic<bool>& aborted)
    : model_(std::move(model)),
      sizes_(search_sizes(in.shape, in.captions, in.tokens, 1, 0, in.options)) {
  sizes_.options.within.clear();
  const Plan plan = plan_search(*model_, in);
  model_->require_memory(plan.peak);
  const std::size_t before = model_->available_memory();
  state_ = std::make_unique<SearchState>(model_->context(&aborted), *model_, in);
  // Another search may have been let go of meanwhile.
  const std::size_t after = std::min(model_->available_memory(), before);
  still_to_hold_ = plan.held - std::min(before - after, plan.held);
  step_bytes_ = plan.peak - plan.held;
}

void SearchJob::check_whole() const {
  if (state_->search().torn()) fail("CONES_DISPOSED", "The search was disposed. Start another one.");
}

std::shared_ptr<void> SearchJob::share_memory() const {
  // Backward packs its weights when it first needs them, and a step that ends there is half a step. Between this and the first
  // step's end remains a moment in which a change of the files does that.
  model_->check_unchanged();
  return model_->share_memory(still_to_hold_, step_bytes_);
}

SearchProgress SearchJob::step(const Context& context) {
  check_whole();
  const SearchProgress progress = state_->step(context);
  still_to_hold_ = 0;
  return progress;
}

StepResult SearchJob::update(const TrainingInput& in, const std::atomic<bool>& aborted) {
  check_whole();
  model_->check_unchanged();  // as in share_memory()
  in.check();
  model_->require_memory(still_to_hold_ + bytes_of_update(in));
  const StepResult result = state_->update(model_->context(&aborted), *model_, in);
  still_to_hold_ = 0;
  return result;
}

std::size_t SearchJob::bytes_of_update(const TrainingInput& in) const {
  const Plan plan = plan_of(model_->context(nullptr), [&](const Context& context) {
    auto state = std::make_unique<SearchState>(context, *model_, sizes_);
    for (int step = 0; step < 2; ++step) state->update(context, *model_, in);
    return state;
  });
  return plan.peak - plan.held;
}

std::vector<std::byte> SearchJob::save() const {
  check_whole();
  return state_->save(model_->context(nullptr));
}

void SearchJob::load(std::span<const std::byte> state) {
  check_whole();
  state_->load(model_->context(nullptr), state);
}

std::vector<std::vector<float>> SearchJob::ranking(Ranking by) const {
  check_whole();
  const Context context = model_->context(nullptr);
  const ConceptSearch& search = state_->search();
  std::vector<std::vector<float>> values;
  for (std::size_t i = 0; i < search.size(); ++i) values.push_back(download(context, search.ranking(by, i)));
  return values;
}

std::vector<std::vector<std::uint32_t>> SearchJob::select_threshold(Ranking by, double threshold) const {
  check_whole();
  return state_->search().select_threshold(model_->context(nullptr), by, threshold);
}

ConceptSearch::Selection SearchJob::select_count(Ranking by, std::int64_t count, const std::atomic<bool>& aborted) const {
  check_whole();
  return state_->search().select_count(model_->context(&aborted), by, count);
}

std::vector<float> SearchJob::embedding() const {
  check_whole();
  return download(model_->context(nullptr), state_->identifier()->embedding());
}

}  // namespace cones::jobs
