// What a concept search is made of: pictures, ξ, a learned identifier. With sizes only it is its own plan.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "concepts/search.h"
#include "jobs/latents.h"
#include "jobs/training_data.h"

namespace cones::jobs {

struct SearchInput : DataInput {
  SearchOptions options;
  std::optional<IdentifierOptions> identifier;
};

/// A search with sizes only, for plans: `rows` per step, the most different captions with a learned identifier among them (0: none
/// is learned).
SearchInput search_sizes(const Shape& shape, index_t captions, index_t tokens, int rows, int identifier_rows,
                         const SearchOptions& options);

class SearchState {
 public:
  /// The model must outlive it. CONES_OPTION_INVALID when the input does not fit together.
  SearchState(const Context& context, const Model& model, const SearchInput& in);

  SearchProgress step(const Context& context);
  /// A step on an explicit batch.
  StepResult update(const Context& context, const Model& model, const TrainingInput& in);

  const ConceptSearch& search() const { return search_; }
  /// Null unless it is learned.
  const LearnedIdentifier* identifier() const { return identifier_ ? &*identifier_ : nullptr; }

  /// ConceptSearch::give_up.
  void give_up() { search_.give_up(); }

  /// The search's state and then the identifier's; load() changes both or neither.
  std::vector<std::byte> save(const Context& context) const;
  void load(const Context& context, std::span<const std::byte> state);

 private:
  SearchData data_;
  ConceptSearch search_;
  std::optional<LearnedIdentifier> identifier_;
};

}  // namespace cones::jobs
