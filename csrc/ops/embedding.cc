#include "ops/embedding.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

/// Where row (b, t) of the output comes from: row `index` of `replaced` or of the table.
struct Source {
  bool replaced;
  index_t index;
};

std::vector<Source> find_sources(const Parameter& tokens, const std::int32_t* ids, index_t count,
                                 std::span<const std::int32_t> replaced_ids) {
  std::vector<Source> sources;
  sources.reserve(static_cast<std::size_t>(count));
  for (index_t i = 0; i < count; ++i) {
    Source source{false, ids[i]};
    for (std::size_t r = 0; r < replaced_ids.size(); ++r)
      if (replaced_ids[r] == ids[i]) source = {true, static_cast<index_t>(r)};
    if (!source.replaced && (source.index < 0 || source.index >= tokens.shape[0]))
      fail("CONES_CONFIG_INVALID", "Token id " + std::to_string(ids[i]) + " is outside the text encoder's vocabulary of " +
                                       std::to_string(tokens.shape[0]) +
                                       ". Use the tokenizer that belongs to this text encoder.");
    sources.push_back(source);
  }
  return sources;
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

  Tensor out = context.empty({batch, length, channels});
  std::vector<Source> sources;
  if (!context.planning()) {
    sources = find_sources(*tokens, ids, batch * length, replaced_ids);
    std::vector<float> token(static_cast<std::size_t>(channels)), position(static_cast<std::size_t>(channels));
    for (index_t t = 0; t < length; ++t) {
      positions->read(t * channels, (t + 1) * channels, position.data());
      for (index_t b = 0; b < batch; ++b) {
        const index_t row = b * length + t;
        const Source source = sources[static_cast<std::size_t>(row)];
        if (!source.replaced) tokens->read(source.index * channels, (source.index + 1) * channels, token.data());
        const float* values = source.replaced ? replaced.value().data() + source.index * channels : token.data();
        context.kernels->vector->add(channels, values, position.data(), out.data() + row * channels);
      }
    }
  }

  const bool want_tokens = tape.wants(tokens), want_positions = tape.wants(positions);
  Var y = tape.result(std::move(out), want_tokens || want_positions || replaced.requires_grad());
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), tokens, positions, want_tokens, want_positions, batch,
                 length, channels, sources = std::move(sources), replaced_count = replaced_ids.size(),
                 dreplaced = replaced.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      const auto add_row = [&](const Tensor& sums, index_t index, index_t row) {
        float* target = sums.data() + index * channels;
        context.kernels->vector->add(channels, target, gradient.data() + row * channels, target);
      };
      Tensor token_sums, position_sums, replaced_sums;
      if (want_tokens) token_sums = context.zeros(tokens->shape);
      if (want_positions) position_sums = context.zeros(positions->shape);
      if (dreplaced) replaced_sums = context.zeros({static_cast<index_t>(replaced_count), channels});
      if (!context.planning())
        for (index_t row = 0; row < batch * length; ++row) {
          const Source source = sources[static_cast<std::size_t>(row)];
          if (want_positions) add_row(position_sums, row % length, row);
          if (!source.replaced && want_tokens) add_row(token_sums, source.index, row);
          if (source.replaced && dreplaced) add_row(replaced_sums, source.index, row);
        }
      if (want_tokens) parameters->add(context, *tokens, token_sums);
      if (want_positions) parameters->add(context, *positions, position_sums);
      Tape::accumulate(context, dreplaced, std::move(replaced_sums));
    });
  return y;
}

}  // namespace cones
