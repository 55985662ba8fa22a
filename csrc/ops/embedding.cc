#include "ops/embedding.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/backend.h"
#include "ops/transfer.h"

namespace cones {
namespace {

/// Where the rows of the output come from: a row of the table, or of `replaced`.
void find_sources(const Parameter& tokens, const std::int32_t* ids, index_t count, std::span<const std::int32_t> replaced_ids,
                  std::vector<int>& token_rows, std::vector<int>& replaced_rows) {
  for (index_t i = 0; i < count; ++i) {
    const auto last = std::find(replaced_ids.rbegin(), replaced_ids.rend(), ids[i]);
    const bool is_replaced = last != replaced_ids.rend();
    if (!is_replaced && (ids[i] < 0 || ids[i] >= tokens.shape[0]))
      fail("CONES_CONFIG_INVALID", "Token id " + std::to_string(ids[i]) + " is outside the text encoder's vocabulary of " +
                                       std::to_string(tokens.shape[0]) +
                                       ". Use the tokenizer that belongs to this text encoder.");
    const auto row = static_cast<std::size_t>(i);
    if (is_replaced) {
      replaced_rows[row] = static_cast<int>(replaced_ids.rend() - last) - 1;
    } else {
      token_rows[row] = ids[i];
    }
  }
}

}  // namespace

Var token_embedding(Tape& tape, const Parameter* tokens, const Parameter* positions, const std::int32_t* ids,
                    index_t batch, index_t length) {
  return token_embedding(tape, tokens, positions, ids, batch, length, Var(), {});
}

Var token_embedding(Tape& tape, const Parameter* tokens, const Parameter* positions, const std::int32_t* ids,
                    index_t batch, index_t length, const Var& replaced, std::span<const std::int32_t> replaced_ids) {
  const Context& context = tape.context();
  const index_t channels = tokens->shape.last();
  check(positions->shape.last() == channels && length <= positions->shape[0], "token_embedding: positions [>= T, C]");
  check(replaced_ids.empty() || replaced.value().size() == static_cast<index_t>(replaced_ids.size()) * channels,
        "token_embedding: one replaced row per id");

  // Made on the host but for the rows of `replaced`, which are the device's: few rows of a table that stays in its file.
  const auto count = static_cast<std::size_t>(batch * length);
  std::vector<int> token_rows(count, -1), replaced_rows(count, -1);  // of the table and of `replaced`, -1 where the other has the row
  std::vector<float> values(context.planning() ? 0 : count * static_cast<std::size_t>(channels));
  if (!context.planning()) {
    find_sources(*tokens, ids, batch * length, replaced_ids, token_rows, replaced_rows);
    std::vector<float> position(static_cast<std::size_t>(channels));
    for (index_t t = 0; t < length; ++t) {
      positions->read(t * channels, (t + 1) * channels, position.data());
      for (index_t b = 0; b < batch; ++b) {
        float* row = values.data() + (b * length + t) * channels;
        const index_t token = token_rows[static_cast<std::size_t>(b * length + t)];
        if (token >= 0) tokens->read(token * channels, (token + 1) * channels, row);
        for (index_t c = 0; c < channels; ++c) row[c] += position[static_cast<std::size_t>(c)];
      }
    }
  }
  Tensor out = upload(context, values, {batch, length, channels});
  if (replaced.defined())
    context.backend->add_rows(context, out.reshape({batch * length, channels}),
                              replaced.value().reshape({static_cast<index_t>(replaced_ids.size()), channels}), replaced_rows);

  const bool want_tokens = tape.wants(tokens), want_positions = tape.wants(positions);
  Var y = tape.result(std::move(out), want_tokens || want_positions || replaced.requires_grad());
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), tokens, positions, want_tokens, want_positions, batch, length,
                 channels, token_rows = std::move(token_rows), replaced_rows = std::move(replaced_rows),
                 replaced_count = static_cast<index_t>(replaced_ids.size()), dreplaced = replaced.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor()).reshape({batch * length, 1, channels});
      const auto sums_of = [&](const Parameter& parameter, std::span<const int> rows) {
        const Shape shape{parameter.shape[0], 1, channels};
        parameters->add(context, parameter, context.backend->rows_gradient(context, gradient, rows, shape).reshape(parameter.shape));
      };
      if (want_tokens) sums_of(*tokens, token_rows);
      if (want_positions) {
        std::vector<int> position_rows;
        for (index_t row = 0; row < batch * length; ++row) position_rows.push_back(static_cast<int>(row % length));
        sums_of(*positions, position_rows);
      }
      if (dreplaced)
        Tape::accumulate(context, dreplaced,
                         context.backend->choose_rows_backward(context, gradient, replaced_rows, {replaced_count, 1, channels}));
    });
  return y;
}

}  // namespace cones
