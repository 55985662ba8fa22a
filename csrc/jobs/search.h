// A concept search as jobs: its start, runs of many steps, and what may be asked of it between them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "jobs/plan.h"
#include "jobs/search_state.h"

namespace cones::jobs {

/// The peak of a step, and what is held between steps. Of the input only sizes count.
Plan plan_search(const Model& model, const SearchInput& in);

class SearchJob {
 public:
  /// The start. NotNow where memory is short.
  SearchJob(std::shared_ptr<const Model> model, const SearchInput& in, const std::atomic<bool>& aborted);

  const Model& model() const { return *model_; }
  const SearchState& state() const { return *state_; }

  /// For steps to come: as long as the result lives, they are sure to fit. NotNow where they do not.
  std::shared_ptr<void> share_memory() const;
  SearchProgress step(const Context& context);
  /// From any thread: nobody wants the search any more, and a step under way stops wherever it is.
  void give_up() { state_->give_up(); }
  /// One step on an explicit batch, for goldens and researchers; not for a search that learns an identifier. NotNow where memory
  /// is short.
  StepResult update(const TrainingInput& in, const std::atomic<bool>& aborted);

  /// SearchState's.
  std::vector<std::byte> save() const;
  void load(std::span<const std::byte> state);

  /// Per searched tensor.
  std::vector<std::vector<float>> ranking(Ranking by) const;
  std::vector<std::vector<std::uint32_t>> select_threshold(Ranking by, double threshold) const;
  ConceptSearch::Selection select_count(Ranking by, std::int64_t count, const std::atomic<bool>& aborted) const;
  /// The learned identifier's [D].
  std::vector<float> embedding() const;

 private:
  /// CONES_DISPOSED when a step was broken off in the middle.
  void check_whole() const;

  std::shared_ptr<const Model> model_;  // before what refers to it
  /// What a step on an explicit batch needs while it runs.
  std::size_t bytes_of_update(const TrainingInput& in) const;

  std::unique_ptr<SearchState> state_;
  const std::shared_ptr<void> for_gradients_ = model_->keep_for_gradients();
  SearchInput sizes_;  // without floats and index lists
  std::size_t still_to_hold_ = 0;  // bytes that the first step takes for good: backward's weights, moments
  std::size_t step_bytes_ = 0;     // that every step needs besides
};

/// `steps` more steps.
class SearchRun {
 public:
  SearchRun(std::shared_ptr<SearchJob> search, std::int64_t steps) : search_(std::move(search)), left_(steps) {}

  using Stepped = std::function<void(const SearchProgress&)>;
  /// True when the last has been taken. NotNow, the first time, where it has to wait.
  bool step(const std::atomic<bool>& aborted, const Stepped& stepped);

 private:
  std::shared_ptr<SearchJob> search_;
  std::int64_t left_;
  std::shared_ptr<void> memory_;
};

}  // namespace cones::jobs
