// Token and position embeddings of CLIP's text tower.
#pragma once

#include <cstdint>
#include <span>

#include "ops/tape.h"

namespace cones {

/// out [B, T, C]: row (b, t) = tokens[ids[b, t]] + positions[t], for tokens [V, C], positions [≥ T, C], ids [B, T].
/// CONES_CONFIG_INVALID for an id outside the vocabulary.
Var token_embedding(Tape& tape, const Parameter* tokens, const Parameter* positions, const std::int32_t* ids,
                    index_t batch, index_t length);

/// The same, where the embedding of the id `replaced_ids[r]` is row r of `replaced` [R, C] instead of the table's: a
/// learned identifier (Textual Inversion). Gradients flow to `replaced`, so they never need a dense [V, C] tensor.
/// `replaced_ids` may lie outside the vocabulary (a new token).
Var token_embedding(Tape& tape, const Parameter* tokens, const Parameter* positions, const std::int32_t* ids,
                    index_t batch, index_t length, const Var& replaced, std::span<const std::int32_t> replaced_ids);

}  // namespace cones
