// From a gradient of text states to one of token embeddings.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace cones::jobs {

struct TokenGradientInput {
  index_t rows = 1;
  std::vector<std::int32_t> ids;     // [rows × T]
  std::vector<std::int32_t> tokens;  // [R], whose embeddings' gradients are wanted
  std::vector<float> upstream;       // ∂L/∂(last hidden state) [rows, T, D]
};

/// [R, D]: zeros where the texts have none of the tokens.
std::vector<float> token_gradient(const Context& context, const Model& model, const TokenGradientInput& in);

}  // namespace cones::jobs
