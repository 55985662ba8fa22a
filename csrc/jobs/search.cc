#include "jobs/search.h"

#include <utility>

#include "ops/transfer.h"

namespace cones::jobs {

Plan plan_search(const Model& model, const SearchInput& in) { return plan_steps<SearchState>(model, in); }

namespace {

SearchInput sizes_for_update(const SearchInput& in) {
  SearchInput sizes = search_sizes(in.shape, in.captions, in.tokens, 1, 0, in.options);
  sizes.options.within.clear();
  return sizes;
}

}  // namespace

SearchJob::SearchJob(std::shared_ptr<const Model> model, const SearchInput& in, const std::atomic<bool>& aborted)
    : LearningJob(std::move(model), in, sizes_for_update(in), aborted) {}

std::vector<std::vector<float>> SearchJob::ranking(Ranking by) const {
  state().check_whole();
  const Context context = model().context(nullptr);
  const ConceptSearch& search = state().search();
  std::vector<std::vector<float>> values;
  for (std::size_t i = 0; i < search.size(); ++i) values.push_back(download(context, search.ranking(by, i)));
  return values;
}

std::vector<std::vector<std::uint32_t>> SearchJob::select_threshold(Ranking by, double threshold) const {
  state().check_whole();
  return state().search().select_threshold(model().context(nullptr), by, threshold);
}

ConceptSearch::Selection SearchJob::select_count(Ranking by, std::int64_t count, const std::atomic<bool>& aborted) const {
  state().check_whole();
  return state().search().select_count(model().context(&aborted), by, count);
}

std::vector<float> SearchJob::embedding() const {
  state().check_whole();
  return download(model().context(nullptr), state().identifier()->embedding());
}

}  // namespace cones::jobs
