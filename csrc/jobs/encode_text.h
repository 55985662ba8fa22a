// Token ids to text states.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace cones::jobs {

struct TextInput {
  index_t rows = 1;
  std::vector<std::int32_t> ids;          // [rows × T]
  std::vector<std::int32_t> replace_ids;  // [R], tokens with learned embeddings
  std::vector<float> replace_rows;        // [R, D], those
  std::vector<AdapterUse> adapters;       // of all rows
};

/// The last hidden state [rows, T, D].
std::vector<float> encode_text(const Context& context, const Model& model, const TextInput& in);

/// T of token ids [rows × T].
index_t equal_rows(const std::vector<std::int32_t>& ids, index_t rows);

}  // namespace cones::jobs
