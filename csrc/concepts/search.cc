#include "concepts/search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "concepts/highest.h"
#include "ops/mse_loss.h"

namespace cones {

ConceptSearch::ConceptSearch(const Context& context, const UNet& unet, const SearchOptions& options)
    : unet_(unet), options_(options), position_(unet.kv_tensors().size(), -1) {
  if (!options.within.empty() && options.within.size() != options.tensors.size())
    fail("CONES_OPTION_INVALID", "`within` needs one index list per searched tensor.");
  if (options.shut > 0 && options.algorithm == Algorithm::one)
    fail("CONES_OPTION_INVALID", "Straight-through goes with Algorithm A2: Algorithm 1 has no score for a weight that is 0.");
  for (std::size_t i = 0; i < options.tensors.size(); ++i) {
    const auto kv = static_cast<std::size_t>(options.tensors[i]);
    if (kv >= position_.size() || position_[kv] != -1)
      fail("CONES_OPTION_INVALID", "Searched tensors must be distinct K-V tensors of the model.");
    position_[kv] = static_cast<int>(i);

    const KvWeights* weights = unet.kv_tensors()[kv];
    const Shape& shape = weights->parameter().shape;
    const bool adam = options.optimizer == Optimizer::adam;
    State state{weights, context.empty(shape), context.zeros(shape), adam ? context.zeros(shape) : Tensor(),
                adam ? context.zeros(shape) : Tensor(), context.zeros(shape), {}, {}, {}};
    if (!context.planning()) weights->parameter().read(0, shape.size(), state.theta.data());
    if (!options.within.empty()) {
      state.allowed.assign(static_cast<std::size_t>(shape.size()), false);
      for (std::uint32_t index : options.within[i]) {
        if (index >= state.allowed.size()) fail("CONES_OPTION_INVALID", "An index in `within` is out of range.");
        state.allowed[index] = true;
      }
    }
    tensors_.push_back(std::move(state));
  }
}

// Straight-through: the displacement from which on weights are shut in this step.
float ConceptSearch::cut(const Context& context) {
  const double full = options_.ramp > 0 ? std::min(1.0, static_cast<double>(steps_) / static_cast<double>(options_.ramp)) : 1;
  const std::int64_t count = std::llround(static_cast<double>(options_.shut) * full);
  if (count == 0 || context.planning()) return std::numeric_limits<float>::infinity();
  last_cut_ = highest(context, values(Ranking::displacement), count, last_cut_);
  return last_cut_ > 0 ? last_cut_ : std::numeric_limits<float>::infinity();
}

// γ = ξ ⊙ θ, or M ⊙ θ, as the kernels read it, for forward and for the gradient with respect to the input: both in one pass, row by
// row of γ, while the row is in the first-level cache. Text states need a gradient only where the identifier is learned.
void ConceptSearch::pack(const Context& context, bool text_gradient) {
  const SearchKernels& kernels = *context.kernels->search;
  const float lowest = options_.shut > 0 ? cut(context) : 0;
  for (State& state : tensors_) {
    const index_t out = state.weights->out(), in = state.weights->in();
    const bool both = text_gradient || state.weights->source() == KvWeights::Source::self;
    state.backward = both ? PackedMatrix(context, out, in) : PackedMatrix();
    state.forward = PackedMatrix::from_columns(context, in, out, [&](index_t row, int, float* gamma) {
      const float* theta = state.theta.data() + row * in;
      const float* displacement = state.displacement.data() + row * in;
      if (lowest > 0) {
        kernels.shut(in, theta, displacement, lowest, gamma);
      } else {
        kernels.scale(in, theta, displacement, gamma);
      }
      if (both) state.backward.set_row(row, gamma);
    });
  }
}

StepResult ConceptSearch::step(const Context& context, const TrainingBatch& batch, LearnedIdentifier* identifier) {
  pack(context, identifier != nullptr);
  const KvView view{.masks = {}, .scaled = this};
  // Once backward has begun, ξ changes tensor by tensor: the abort flag counts only until then.
  Context uninterrupted = context;
  Tape tape(uninterrupted, this);
  const Var states = identifier ? identifier->encode(tape, batch) : Var(batch.embeddings);
  const TextKv text = unet_.project_text(tape, states, view, batch.texts);
  const UNetInput input{.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = view,
                        .checkpointing = options_.checkpointing};
  const Var output = unet_.forward(tape, input);
  uninterrupted.aborted = nullptr;

  MseLoss loss = mse_loss(context, output.value(), batch.target, batch.weights, true);
  if (!context.planning() && !std::isfinite(loss.loss))
    fail("CONES_LOSS_NOT_FINITE", "The concept-implanting loss is not finite at step " + std::to_string(steps_ + 1) +
                                      ". Lower the learning rate, or check the pictures and the model's weights.");
  ++steps_;  // Adam's bias correction counts from 1
  Tape::accumulate(context, output.gradient(), loss.gradient);
  tape.backward();
  if (identifier && !context.planning()) identifier->update(steps_);
  return {loss.loss, loss.means};
}

SearchUpdate ConceptSearch::update_of_step() const {
  const bool adam = options_.optimizer == Optimizer::adam;
  const double step = static_cast<double>(steps_);
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

void ConceptSearch::update(const Context& context, State& state, index_t row, index_t rows, index_t column,
                           index_t columns, const float* gradient, index_t stride) {
  const SearchUpdate step = update_of_step();
  const index_t in = state.weights->in();
  const auto at = [](const Tensor& tensor, index_t i) { return tensor.defined() ? tensor.data() + i : nullptr; };
  const auto run = [&](index_t i, index_t count, const float* g) {
    context.kernels->search->update(step, count, at(state.theta, i), g, at(state.displacement, i),
                                    at(state.first_moment, i), at(state.second_moment, i), at(state.score, i));
  };
  for (index_t r = 0; r < rows; ++r) {
    const index_t begin = (row + r) * in + column;
    if (state.allowed.empty()) {
      run(begin, columns, gradient + r * stride);
    } else {  // few
      for (index_t c = 0; c < columns; ++c)
        if (state.allowed[static_cast<std::size_t>(begin + c)]) run(begin + c, 1, gradient + r * stride + c);
    }
  }
}

bool ConceptSearch::wants(const Parameter& parameter) const {
  return std::ranges::any_of(tensors_, [&](const State& state) { return &state.weights->parameter() == &parameter; });
}

ConceptSearch::State& ConceptSearch::find(const Parameter& parameter) {
  const auto at = std::ranges::find(tensors_, &parameter, [](const State& state) { return &state.weights->parameter(); });
  check(at != tensors_.end(), "gradients arrive only for searched tensors");
  return *at;
}

void ConceptSearch::add(const Context& context, const Parameter& parameter, const Tensor& gradient) {
  State& state = find(parameter);
  update(context, state, 0, state.weights->out(), 0, state.weights->in(), gradient.data(), state.weights->in());
}

void ConceptSearch::add_outer(const Context& context, const Parameter& parameter, const Tensor& x, const Tensor& dy) {
  State& state = find(parameter);
  gemm_outer_tiles(context, dy, x,
                   [&](index_t row, index_t rows, index_t column, index_t columns, const float* tile, index_t stride,
                       int) { update(context, state, row, rows, column, columns, tile, stride); });
}

const PackedMatrix* ConceptSearch::forward(int kv_index) const {
  const int i = position_[static_cast<std::size_t>(kv_index)];
  return i < 0 ? nullptr : &tensors_[static_cast<std::size_t>(i)].forward;
}

const PackedMatrix* ConceptSearch::backward(int kv_index) const {
  const int i = position_[static_cast<std::size_t>(kv_index)];
  if (i < 0) return nullptr;
  const PackedMatrix& packed = tensors_[static_cast<std::size_t>(i)].backward;
  check(packed.defined(), "only a learned identifier needs the text states' gradient");
  return &packed;
}

const Tensor& ConceptSearch::ranking(Ranking by, std::size_t i) const {
  return by == Ranking::displacement ? tensors_[i].displacement : tensors_[i].score;
}

std::vector<Tensor> ConceptSearch::values(Ranking by) const {
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < tensors_.size(); ++i) values.push_back(ranking(by, i));
  return values;
}

std::vector<std::vector<std::uint32_t>> ConceptSearch::select_threshold(Ranking by, double threshold) const {
  std::vector<std::vector<std::uint32_t>> selected(tensors_.size());
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const Tensor& values = ranking(by, t);
    for (index_t i = 0; i < values.size(); ++i)
      if (static_cast<double>(values.data()[i]) > threshold) selected[t].push_back(static_cast<std::uint32_t>(i));
  }
  return selected;
}

ConceptSearch::Selection ConceptSearch::select_count(const Context& context, Ranking by, std::int64_t count) const {
  Selection selection{std::vector<std::vector<std::uint32_t>>(tensors_.size()), 0};
  const float lowest = count > 0 ? highest(context, values(by), count) : 0;
  if (lowest == 0) return selection;
  // Equal values fill up what the strictly higher ones leave.
  selection.indices = select_threshold(by, static_cast<double>(lowest));
  for (const auto& indices : selection.indices) count -= static_cast<std::int64_t>(indices.size());
  for (std::size_t t = 0; t < tensors_.size() && count > 0; ++t) {
    const Tensor& all = ranking(by, t);
    std::vector<std::uint32_t>& indices = selection.indices[t];
    const auto higher = static_cast<std::ptrdiff_t>(indices.size());
    for (index_t i = 0; i < all.size() && count > 0; ++i)
      if (all.data()[i] == lowest) {
        indices.push_back(static_cast<std::uint32_t>(i));
        --count;
      }
    std::inplace_merge(indices.begin(), indices.begin() + higher, indices.end());
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
  for (const State& state : tensors_)
    for (const Tensor* tensor : {&state.displacement, &state.first_moment, &state.second_moment, &state.score})
      if (tensor->defined()) f(*tensor, static_cast<std::size_t>(tensor->size()) * sizeof(float));
}

std::size_t ConceptSearch::state_size() const {
  std::size_t bytes = sizeof(StateHeader);
  each_saved([&](const Tensor&, std::size_t size) { bytes += size; });
  return bytes;
}

ConceptSearch::StateHeader ConceptSearch::state_header() const {
  StateHeader header{kStateMagic, static_cast<std::uint32_t>(tensors_.size()), 0, steps_};
  for (const State& state : tensors_) header.weights += static_cast<std::uint64_t>(state.theta.size());
  return header;
}

std::vector<std::byte> ConceptSearch::save() const {
  const StateHeader header = state_header();
  std::vector<std::byte> out(state_size());
  std::memcpy(out.data(), &header, sizeof header);
  std::size_t at = sizeof header;
  each_saved([&](const Tensor& tensor, std::size_t size) {
    std::memcpy(out.data() + at, tensor.data(), size);
    at += size;
  });
  return out;
}

void ConceptSearch::load(std::span<const std::byte> bytes) {
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
  for (std::size_t at = sizeof header; at < bytes.size(); at += sizeof(float)) {
    float value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if (!std::isfinite(value)) reject();
  }
  // Adam takes the root of second moments, which are means of squares.
  std::size_t at = sizeof header;
  for (const State& state : tensors_)
    for (const Tensor* tensor : {&state.displacement, &state.first_moment, &state.second_moment, &state.score})
      for (index_t i = 0; tensor->defined() && i < tensor->size(); ++i, at += sizeof(float)) {
        float value;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        if (tensor == &state.second_moment && value < 0) reject();
      }

  steps_ = header.steps;
  at = sizeof header;
  for (State& state : tensors_)
    for (Tensor* tensor : {&state.displacement, &state.first_moment, &state.second_moment, &state.score})
      if (tensor->defined()) {
        const std::size_t size = static_cast<std::size_t>(tensor->size()) * sizeof(float);
        std::memcpy(tensor->data(), bytes.data() + at, size);
        at += size;
      }
}

}  // namespace cones
