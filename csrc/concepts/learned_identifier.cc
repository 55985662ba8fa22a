#include "concepts/learned_identifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "ops/choose_rows.h"

namespace cones {

LearnedIdentifier::LearnedIdentifier(const Context& context, const ClipText& text, IdentifierOptions options)
    : text_(&text), options_(std::move(options)) {
  const auto& o = options_;
  if (o.captions.empty() || o.ids.size() % o.captions.size() != 0 || o.start.empty())
    fail("CONES_OPTION_INVALID", "A learned identifier needs the tokens of the captions that name it, and where it starts.");
  length_ = static_cast<index_t>(o.ids.size() / o.captions.size());
  const index_t width = text.config().hidden_size;
  const Tensor rows = text.token_rows(context, o.start);
  values_ = context.zeros({width});
  first_moment_ = context.zeros({width});
  second_moment_ = context.zeros({width});
  if (context.planning()) return;
  const auto count = static_cast<float>(o.start.size());
  for (index_t i = 0; i < rows.size(); ++i) values_.data()[i % width] += rows.data()[i] / count;
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
  const Var learned(values_, true);
  gradient_ = learned.gradient();
  const std::int32_t token[] = {options_.token};
  const Var states = text_->forward(tape, ids, static_cast<index_t>(used.size()), length_, learned, token);
  return choose_rows(tape, states, std::move(source), batch.embeddings);
}

void LearnedIdentifier::update(std::int64_t step) {
  const GradientRef slot = std::exchange(gradient_, nullptr);
  // A batch that does not name the subject has a gradient of 0.
  const float* gradient = slot && slot->tensor.defined() ? slot->tensor.data() : nullptr;
  const auto& o = options_;
  const double k = static_cast<double>(step);
  const double rate = o.learning_rate / (1 - std::pow(o.beta1, k));
  const double correction2 = 1 / std::sqrt(1 - std::pow(o.beta2, k));
  for (index_t i = 0; i < values_.size(); ++i) {
    const double g = gradient == nullptr ? 0 : static_cast<double>(gradient[i]);
    float& m = first_moment_.data()[i];
    float& v = second_moment_.data()[i];
    m = static_cast<float>(o.beta1 * static_cast<double>(m) + (1 - o.beta1) * g);
    v = static_cast<float>(o.beta2 * static_cast<double>(v) + (1 - o.beta2) * g * g);
    const double move = rate * static_cast<double>(m) / (std::sqrt(static_cast<double>(v)) * correction2 + o.epsilon);
    values_.data()[i] = static_cast<float>(static_cast<double>(values_.data()[i]) - move);
  }
}

std::size_t LearnedIdentifier::state_size() const { return 3 * static_cast<std::size_t>(values_.size()) * sizeof(float); }

std::vector<std::byte> LearnedIdentifier::save() const {
  std::vector<std::byte> out(state_size());
  std::byte* at = out.data();
  for (const Tensor* tensor : {&values_, &first_moment_, &second_moment_}) {
    const std::size_t size = static_cast<std::size_t>(tensor->size()) * sizeof(float);
    std::memcpy(at, tensor->data(), size);
    at += size;
  }
  return out;
}

void LearnedIdentifier::load(std::span<const std::byte> state) {
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
    std::copy_n(from, tensor->size(), tensor->data());
    from += tensor->size();
  }
}

}  // namespace cones
