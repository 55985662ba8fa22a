// A concept search as jobs: its start, runs of many steps, and what may be asked of it between them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "jobs/learning_job.h"
#include "jobs/search_state.h"
#include "jobs/step_run.h"

namespace cones::jobs {

/// The peak of a step, and what is held between steps. Of the input only sizes count.
Plan plan_search(const Model& model, const SearchInput& in);

class SearchJob : public LearningJob<SearchState, SearchInput> {
 public:
  /// The start. NotNow where memory is short.
  SearchJob(std::shared_ptr<const Model> model, const SearchInput& in, const std::atomic<bool>& aborted);

  /// From any thread: nobody wants the search any more, and a step under way stops wherever it is.
  void give_up() { own_state().give_up(); }

  /// Per searched tensor.
  std::vector<std::vector<float>> ranking(Ranking by) const;
  std::vector<std::vector<std::uint32_t>> select_threshold(Ranking by, double threshold) const;
  ConceptSearch::Selection select_count(Ranking by, std::int64_t count, const std::atomic<bool>& aborted) const;
  /// The learned identifier's [D].
  std::vector<float> embedding() const;
};

using SearchRun = StepRun<SearchJob>;

}  // namespace cones::jobs
