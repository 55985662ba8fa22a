#include "jobs/search_state.h"

#include "base/error.h"

namespace cones::jobs {

SearchInput search_sizes(const Shape& shape, index_t captions, index_t tokens, int rows, int identifier_rows,
                         const SearchOptions& options) {
  SearchInput in;
  static_cast<DataInput&>(in) = data_sizes(shape, captions, tokens, rows);
  in.options = options;
  if (identifier_rows > 0) in.identifier = identifier_sizes(identifier_rows, tokens);
  return in;
}

void SearchState::check_whole() const {
  if (search().torn()) fail("CONES_DISPOSED", "The search was disposed. Start another one.");
}

}  // namespace cones::jobs
