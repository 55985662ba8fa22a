#include "training/learned_identifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "ops/choose_rows.h"
#include "ops/transfer.h"

namespace cones {

LearnedIdentifier::LearnedIdentifier(const Context& context, const ClipText& text, IdentifierOptions options)
    : text_(&text), options_(std::move(options)) {
  const auto& o = options_;
  const bool starts = !o.tokens.empty() && o.starts.size() == o.tokens.size() &&
                      std::ranges::none_of(o.starts, [](const auto& start) { return start.empty(); });
  if (o.captions.empty() || o.ids.size() % o.captions.size() != 0 || !starts)
    fail("CONES_OPTION_INVALID", "A learned identifier needs the tokens of the captions that name it, and where it starts.");
  if (o.norm_limit > 0 && o.tokens.size() != 1) fail("CONES_OPTION_INVALID", "A limit of the norm goes with one learned token.");
  length_ = static_cast<index_t>(o.ids.size() / o.captions.size());
  const index_t width = text.config().hidden_size;
  const auto columns = static_cast<std::size_t>(width);
  std::vector<float> means(o.tokens.size() * columns);
  for (std::size_t t = 0; t < o.tokens.size(); ++t) {
    const std::vector<float> rows = text.token_rows(context, o.starts[t]);
    const auto count = static_cast<float>(o.starts[t].size());
    for (std::size_t i = 0; i < rows.size(); ++i) means[t * columns + i % columns] += rows[i] / count;
  }
  const Shape shape{static_cast<index_t>(o.tokens.size()), width};
  values_ = upload(context, means, shape, DType::f32);
  first_moment_ = context.zeros(shape, DType::f32);
  second_moment_ = context.zeros(shape, DType::f32);
}

Var LearnedIdentifier::encode(Tape& tape, const TrainingBatch& batch) {
  const Context& context = tape.context();
  // Which captions are to be encoded, each once, and for every text which of them.
  std::vector<std::size_t> used;
  std::vector<int> source;
  for (int caption : batch.captions) {
    const auto known = std::find(options_.captions.begin(), options_.captions.end(), caption);
    if (known == options_.captions.end()) {
      source.push_back(-1);
      continue;
    }
    const auto which = static_cast<std::size_t>(known - options_.captions.begin());
    const auto at = std::find(used.begin(), used.end(), which);
    source.push_back(static_cast<int>(at - used.begin()));
    if (at == used.end()) used.push_back(which);
  }
  // A plan is for the most that a batch can have.
  if (context.planning()) used.assign(std::min(options_.captions.size(), static_cast<std::size_t>(options_.most_rows)), 0);
  if (used.empty()) return Var(batch.embeddings);

  std::vector<std::int32_t> ids;
  for (std::size_t which : used) {
    const auto begin = options_.ids.begin() + static_cast<std::ptrdiff_t>(which) * length_;
    ids.insert(ids.end(), begin, begin + length_);
  }
  const Var learned(context.backend->cast(context, values_, context.backend->activation(), 1), true);
  gradient_ = learned.gradient();
  const Var states = text_->forward(tape, ids, static_cast<index_t>(used.size()), length_, learned, options_.tokens);
  return choose_rows(tape, states, std::move(source), batch.embeddings);
}

void LearnedIdentifier::update(const Context& context, std::int64_t step, const Tensor& finite) {
  const GradientRef slot = std::exchange(gradient_, nullptr);
  // A batch that does not name the subject has a gradient of 0.
  const Tensor gradient = slot ? slot->tensor : Tensor();
  const auto& o = options_;
  context.backend->adam(context, {o.learning_rate, o.beta1, o.beta2, o.epsilon, step, o.weight_decay}, gradient, values_, first_moment_,
                        second_moment_, finite);
  if (o.norm_limit > 0) context.backend->limit_norm(context, values_, o.norm_limit);
}

std::size_t LearnedIdentifier::state_size() const { return 3 * values_.bytes(); }

std::vector<std::byte> LearnedIdentifier::save(const Context& context) const {
  std::vector<std::byte> out(state_size());
  std::byte* at = out.data();
  for (const Tensor* tensor : {&values_, &first_moment_, &second_moment_}) {
    context.memory->device().download(at, tensor->raw(), tensor->bytes());
    at += tensor->bytes();
  }
  return out;
}

void LearnedIdentifier::load(const Context& context, std::span<const std::byte> state) {
  std::vector<float> values(state.size() / sizeof(float));
  if (state.size() == state_size()) std::memcpy(values.data(), state.data(), state.size());
  const auto finite = [](float v) { return std::isfinite(v); };
  // Second moments, the last of them, are means of squares.
  const auto second = values.end() - std::min<std::ptrdiff_t>(second_moment_.size(), std::ssize(values));
  if (state.size() != state_size() || !std::all_of(values.begin(), values.end(), finite) ||
      std::any_of(second, values.end(), [](float v) { return v < 0; }))
    fail("CONES_STATE_INVALID", "The saved state's identifier is damaged. Start the search anew.");
  const float* from = values.data();
  for (Tensor* tensor : {&values_, &first_moment_, &second_moment_}) {
    context.memory->device().upload(tensor->raw(), from, tensor->bytes());
    from += tensor->size();
  }
}

}  // namespace cones
