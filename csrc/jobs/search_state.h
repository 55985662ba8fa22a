// What a concept search is made of: pictures, ξ, a learned identifier.
#pragma once

#include <optional>

#include "concepts/search.h"
#include "jobs/learning_state.h"

namespace cones::jobs {

struct SearchInput : DataInput {
  SearchOptions options;
  std::optional<IdentifierOptions> identifier;
};

/// A search with sizes only, for plans: `rows` per step, the most different captions with a learned identifier among them (0: none
/// is learned).
SearchInput search_sizes(const Shape& shape, index_t captions, index_t tokens, int rows, int identifier_rows,
                         const SearchOptions& options);

class SearchState : public LearningState<ConceptSearch> {
 public:
  SearchState(const Context& context, const Model& model, const SearchInput& in)
      : LearningState(context, model, in, in.identifier, model.unet(), in.options) {}

  const ConceptSearch& search() const { return learner(); }
  /// CONES_DISPOSED when a step was broken off in the middle.
  void check_whole() const;
  /// ConceptSearch::give_up.
  void give_up() { learner().give_up(); }
};

}  // namespace cones::jobs
