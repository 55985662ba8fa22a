#include "concepts/search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "ops/mse_loss.h"
#include "ops/transfer.h"

namespace cones {

ConceptSearch::ConceptSearch(const Context& context, const UNet& unet, const SearchOptions& options)
    : unet_(unet), options_(options), position_(unet.kv_tensors().size(), -1) {
  if (!options.within.empty() && options.within.size() != options.tensors.size())
    fail("CONES_OPTION_INVALID", "`within` needs one index list per searched tensor.");
  if (options.shut > 0 && options.algorithm == Algorithm::one)
    fail("CONES_OPTION_INVALID", "Straight-through goes with Algorithm A2: Algorithm 1 has no score for a weight that is 0.");
  index_t place = 0;
  for (std::size_t i = 0; i < options.tensors.size(); ++i) {
    const auto kv = static_cast<std::size_t>(options.tensors[i]);
    if (kv >= position_.size() || position_[kv] != -1)
      fail("CONES_OPTION_INVALID", "Searched tensors must be distinct K-V tensors of the model.");
    position_[kv] = static_cast<int>(i);

    const KvWeights* weights = unet.kv_tensors()[kv];
    const Shape& shape = weights->parameter().shape;
    const bool adam = options.optimizer == Optimizer::adam;
    const auto zeros = [&] { return context.zeros(shape, DType::f32); };
    SearchState state{.weights = weights->base().shared(),
                      .theta = context.backend->search_theta(context, weights->parameter(), weights->base().shared()),
                      .displacement = zeros(),
                      .first_moment = adam ? zeros() : Tensor(),
                      .second_moment = adam ? zeros() : Tensor(),
                      .score = zeros(),
                      .allowed = nullptr,
                      .first = place};
    place += shape.size();
    check(place <= std::int64_t{1} << 32, "places of weights have 32 bits");
    if (!options.within.empty()) {
      for (std::uint32_t index : options.within[i])
        if (index >= shape.size()) fail("CONES_OPTION_INVALID", "An index in `within` is out of range.");
      state.allowed = context.backend->prepare_allowed(context, weights->out(), weights->in(), options.within[i]);
    }
    tensors_.push_back({weights, std::move(state), nullptr});
  }
}

// Displacements under Adam are told apart by a 1024th of a whole step of it.
float ConceptSearch::per_step(Ranking by) const {
  if (by != Ranking::displacement || options_.optimizer != Optimizer::adam) return 0;
  const auto steps = static_cast<float>(1024 / options_.learning_rate);
  return std::isfinite(steps) ? steps : 0;
}

// Straight-through: the last weight that is shut in this step.
SearchCut ConceptSearch::cut(const Context& context) {
  // A plan is for a step that has all, and the last one's cut beside its own.
  const bool grows = options_.ramp > 0 && !context.planning();
  if (context.planning()) last_cut_ = context.empty({3}, DType::f32);
  const double full = grows ? std::min(1.0, static_cast<double>(steps_) / static_cast<double>(options_.ramp)) : 1;
  const std::int64_t count = std::llround(static_cast<double>(options_.shut) * full);
  const float steps = per_step(Ranking::displacement);
  if (count == 0) {  // θ itself, and from the first step on all that is held between steps
    std::vector<float> none(kNoneChosen.size());
    std::memcpy(none.data(), kNoneChosen.data(), sizeof kNoneChosen);
    return {last_cut_ = upload(context, none, {3}, DType::f32), steps};
  }
  return {last_cut_ = context.backend->highest(context, ranked(Ranking::displacement), steps, count, last_cut_), steps};
}

// γ = ξ ⊙ θ, or M ⊙ θ, as the kernels read it.
void ConceptSearch::make_gammas(const Context& context) {
  const SearchCut shut = options_.shut > 0 ? cut(context) : SearchCut();
  for (Searched& tensor : tensors_) {
    tensor.gamma = nullptr;  // the last step's, before the next takes memory
    tensor.gamma = context.backend->search_gamma(context, tensor.state, shut.last.defined() ? &shut : nullptr);
  }
}

StepResult ConceptSearch::step(const Context& context, const TrainingBatch& batch, LearnedIdentifier* identifier) {
  if (given_up_) fail("CONES_DISPOSED", "The search was disposed. Start another one.");
  make_gammas(context);
  const KvView view{.masks = {}, .scaled = this};
  Context uninterrupted = context;  // from backward on
  uninterrupted.gradient_scale = context.backend->gradient_scale(batch.target.size() / batch.target.dim(0));
  Tape tape(uninterrupted, this, options_.checkpointing);
  const Var states = identifier ? identifier->encode(tape, batch) : Var(batch.embeddings);
  const TextKv text = unet_.project_text(tape, states, view, batch.texts);
  const UNetInput input{.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = view};
  const Var output = unet_.forward(tape, input);
  // Once backward has begun, ξ changes tensor by tensor: from now on nothing ends the step but the end of the search.
  uninterrupted = uninterrupted.watching(&given_up_);
  torn_ = true;

  // Nobody waits for the loss before backward: where it is not finite, the updates leave the state as it is.
  MseResult loss = mse_loss(uninterrupted, output.value(), batch.target, batch.weights, true);
  finite_ = loss.finite;
  Tape::accumulate(uninterrupted, output.gradient(), std::exchange(loss.gradient, Tensor()));
  tape.backward();
  if (identifier) identifier->update(uninterrupted, steps_ + 1, finite_);
  finite_ = Tensor();
  const MseLoss values = read_loss(uninterrupted, loss, batch.weights);
  torn_ = false;
  if (!std::isfinite(values.loss)) {
    const bool narrow = context.backend->activation() == DType::f16;
    fail("CONES_LOSS_NOT_FINITE", "The concept-implanting loss is not finite at step " + std::to_string(steps_ + 1) + ". " +
                                      (narrow ? "Load the model with precision 'bf16', whose range is wider than fp16's, lower"
                                              : "Lower") +
                                      " the learning rate, or check the pictures and the model's weights.");
  }
  ++steps_;
  return {values.loss, values.means};
}

SearchUpdate ConceptSearch::update_of_step() const {
  const bool adam = options_.optimizer == Optimizer::adam;
  const double step = static_cast<double>(steps_ + 1);  // Adam's bias correction counts from 1
  return {.adam = adam,
          .algorithm1 = options_.algorithm == Algorithm::one,
          .clamp = options_.clamp,
          .rate = static_cast<float>(adam ? options_.learning_rate / (1 - std::pow(options_.beta1, step))
                                          : options_.learning_rate),
          // Rounded once: 1.0f - 0.999f would be off by 1e-5.
          .rest1 = static_cast<float>(1 - options_.beta1),
          .beta2 = static_cast<float>(options_.beta2),
          .rest2 = static_cast<float>(1 - options_.beta2),
          .correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(options_.beta2, step))),
          .epsilon = static_cast<float>(options_.epsilon)};
}

bool ConceptSearch::wants(const Parameter& parameter) const {
  return std::ranges::any_of(tensors_, [&](const Searched& tensor) { return &tensor.weights->parameter() == &parameter; });
}

const SearchState& ConceptSearch::find(const Parameter& parameter) const {
  const auto at = std::ranges::find(tensors_, &parameter, [](const Searched& tensor) { return &tensor.weights->parameter(); });
  check(at != tensors_.end(), "gradients arrive only for searched tensors");
  return at->state;
}

void ConceptSearch::add(const Context&, const Parameter&, const Tensor&) {
  check(false, "the gradients of K-V weights are outer products");
}

void ConceptSearch::add_outer(const Context& context, const Parameter& parameter, const Tensor& x, const Tensor& dy) {
  context.backend->search_update_outer(context, x, dy, find(parameter), update_of_step(), finite_);
}

const Prepared* ConceptSearch::gamma(int kv_index) const {
  const int i = position_[static_cast<std::size_t>(kv_index)];
  return i < 0 ? nullptr : tensors_[static_cast<std::size_t>(i)].gamma.get();
}

const Tensor& ConceptSearch::ranking(Ranking by, std::size_t i) const {
  const SearchState& state = tensors_[i].state;
  return by == Ranking::displacement ? state.displacement : state.score;
}

std::vector<RankedWeights> ConceptSearch::ranked(Ranking by) const {
  std::vector<RankedWeights> ranked;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const SearchState& state = tensors_[i].state;
    ranked.push_back({ranking(by, i), by == Ranking::displacement ? state.score : Tensor(), state.first});
  }
  return ranked;
}

std::vector<std::vector<std::uint32_t>> ConceptSearch::select_threshold(const Context& context, Ranking by,
                                                                        double threshold) const {
  std::vector<std::vector<std::uint32_t>> selected(tensors_.size());
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const std::vector<float> values = download(context, ranking(by, t));
    for (std::size_t i = 0; i < values.size(); ++i)
      if (static_cast<double>(values[i]) > threshold) selected[t].push_back(static_cast<std::uint32_t>(i));
  }
  return selected;
}

ConceptSearch::Selection ConceptSearch::select_count(const Context& context, Ranking by, std::int64_t count) const {
  Selection selection{std::vector<std::vector<std::uint32_t>>(tensors_.size()), 0};
  if (count == 0) return selection;
  const std::vector<RankedWeights> weights = ranked(by);
  const std::vector<float> words = download(context, context.backend->highest(context, weights, per_step(by), count, {}));
  RankKey last;
  std::memcpy(last.data(), words.data(), sizeof last);
  if (last == kNoneChosen) return selection;
  float lowest = std::numeric_limits<float>::infinity();
  for (std::size_t t = 0; t < weights.size(); ++t) {
    const std::vector<float> values = download(context, weights[t].values);
    const std::vector<float> seconds = weights[t].seconds.defined() ? download(context, weights[t].seconds) : std::vector<float>();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (is_chosen(last, per_step(by), values[i], seconds.empty() ? nullptr : &seconds[i], weights[t].first + static_cast<index_t>(i))) {
        selection.indices[t].push_back(static_cast<std::uint32_t>(i));
        lowest = std::min(lowest, values[i]);
      }
  }
  selection.threshold = static_cast<double>(lowest);
  return selection;
}

namespace {

constexpr std::uint32_t kStateMagic = 0x31585343;  // "CSX1"

constexpr std::int64_t kMostSteps = std::int64_t{1} << 40;  // rows and their noise are numbered from it

}  // namespace

struct ConceptSearch::StateHeader {
  std::uint32_t magic, tensors;
  std::uint64_t weights;
  std::int64_t steps;
};

template <class F>
void ConceptSearch::each_saved(const F& f) const {
  for (const auto& [weights, state, gamma] : tensors_)
    for (const Tensor* tensor : {&state.displacement, &state.first_moment, &state.second_moment, &state.score})
      // Adam takes the root of second moments, which are means of squares.
      if (tensor->defined()) f(*tensor, tensor == &state.second_moment);
}

std::size_t ConceptSearch::state_size() const {
  std::size_t bytes = sizeof(StateHeader);
  each_saved([&](const Tensor& tensor, bool) { bytes += tensor.bytes(); });
  return bytes;
}

ConceptSearch::StateHeader ConceptSearch::state_header() const {
  StateHeader header{kStateMagic, static_cast<std::uint32_t>(tensors_.size()), 0, steps_};
  for (const Searched& tensor : tensors_) header.weights += static_cast<std::uint64_t>(tensor.state.displacement.size());
  return header;
}

std::vector<std::byte> ConceptSearch::save(const Context& context) const {
  const StateHeader header = state_header();
  std::vector<std::byte> out(state_size());
  std::memcpy(out.data(), &header, sizeof header);
  std::size_t at = sizeof header;
  each_saved([&](const Tensor& tensor, bool) {
    context.memory->device().download(out.data() + at, tensor.raw(), tensor.bytes());
    at += tensor.bytes();
  });
  return out;
}

void ConceptSearch::load(const Context& context, std::span<const std::byte> bytes) {
  const auto reject = [] {
    fail("CONES_STATE_INVALID",
         "The saved state is damaged or belongs to a search with other tensors or another optimizer. "
         "Resume with the options that the search was started with.");
  };
  StateHeader header;
  const StateHeader own = state_header();
  if (bytes.size() != state_size()) reject();
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != own.magic || header.tensors != own.tensors || header.weights != own.weights || header.steps < 0 ||
      header.steps > kMostSteps)
    reject();
  // Everything is looked at before anything changes. The bytes may lie at any address.
  std::size_t at = sizeof header;
  each_saved([&](const Tensor& tensor, bool is_square) {
    for (const std::size_t end = at + tensor.bytes(); at < end; at += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      if (!std::isfinite(value) || (is_square && value < 0)) reject();
    }
  });

  steps_ = header.steps;
  at = sizeof header;
  each_saved([&](const Tensor& tensor, bool) {
    context.memory->device().upload(tensor.raw(), bytes.data() + at, tensor.bytes());
    at += tensor.bytes();
  });
}

}  // namespace cones
