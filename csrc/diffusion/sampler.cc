#include "diffusion/sampler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

std::array<index_t, 3> seen(const SampleInput& in) {
  const index_t tokens = in.embeddings.dim(1);
  if (in.regions == 1) return {in.latents.dim(1), in.latents.dim(2), tokens};
  return {in.windows.height, in.windows.width, tokens};
}

// All of them along the batch; a single one as it is.
Tensor stack(const Context& context, const std::vector<Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : context.backend->stack_rows(context, parts);
}

/// Rows of the UNet for what belongs to pictures or to their regions: each `regions` times, and all of that for every side.
template <class T>
std::vector<T> rows_of(const std::vector<T>& given, index_t regions, index_t sides) {
  std::vector<T> rows;
  for (index_t side = 0; side < sides; ++side)
    for (const T& one : given) rows.insert(rows.end(), static_cast<std::size_t>(regions), one);
  return rows;
}

}  // namespace

Sampling::Sampling(const Context& context, const UNet& unet, SampleInput input)
    : input_(std::move(input)),
      size_(seen(input_)),
      guided_(input_.negative_embeddings.defined() && input_.guidance != 1),
      masks_(input_.masks),
      adapters_(std::move(input_.adapters)) {
  Tensor x = std::exchange(input_.latents, Tensor());
  const index_t count = x.dim(0), rows = count * input_.regions;
  check(masks_.empty() || static_cast<index_t>(masks_.size()) == rows, "one mask per region of a picture");
  check(input_.weights.defined() == (input_.regions > 1) && (input_.regions == 1 || input_.windows.regions() == input_.regions),
        "weights and windows where there are several regions");
  check(unet.config().in_channels == x.dim(3) + (input_.conditions.defined() ? input_.conditions.dim(3) : 0), "latents and conditions as the UNet has them");
  check(!input_.known.image.defined() || input_.known.shares.size() == input_.steps.size(), "shares of every step");
  masks_.resize(static_cast<std::size_t>(rows));
  masks_ = rows_of(masks_, 1, sides());
  check(adapters_.empty() || static_cast<index_t>(adapters_.size()) == count, "adapters are of pictures");
  if (std::ranges::all_of(adapters_, [](const auto& row) { return row.empty(); })) adapters_.clear();
  adapters_ = rows_of(adapters_, input_.regions, sides());
  tells_guidance_ = unet.config().time_cond_dim > 0;
  Tape tape(context);
  tape.adapt(adapters_);
  std::vector<Tensor> texts(static_cast<std::size_t>(sides() - 1), input_.negative_embeddings);
  texts.push_back(input_.embeddings);
  const Tensor text = stack(context, texts);
  texts.clear();
  text_ = unet.project_text(tape, Var(text), KvView{.masks = masks_});
  input_.embeddings = input_.negative_embeddings = Tensor();
  // All that is held between steps is held from the start, so that who comes next knows what is left.
  Block all{.first = 0, .count = count, .done = 0, .x = std::move(x), .previous = {}};
  for (Tensor& previous : all.previous) previous = context.empty(all.x.shape(), DType::f32);
  blocks_.push_back(std::move(all));
}

std::size_t Sampling::steps_done() const { return std::ranges::min(blocks_, {}, &Block::done).done; }

index_t Sampling::unfinished() const {
  index_t count = 0;
  for (const Block& block : blocks_)
    if (block.done < input_.steps.size()) count += block.count;
  return count;
}

index_t Sampling::available() const {
  if (!input_.in_step) return unfinished();
  const std::size_t done = steps_done();
  index_t count = 0;
  for (const Block& block : blocks_)
    if (block.done == done && done < input_.steps.size()) count += block.count;
  return count;
}

Tensor Sampling::predicted(const Context& context) const {
  std::vector<Tensor> parts;
  for (const Block& block : blocks_) parts.push_back(block.previous[0]);
  return stack(context, parts);
}

Tensor Sampling::latents(const Context& context) const {
  std::vector<Tensor> parts;
  for (const Block& block : blocks_) parts.push_back(block.x);
  return stack(context, parts);
}

/// The first `count` pictures of a block become one of their own.
void Sampling::split(const Context& context, std::size_t index, index_t count) {
  const Block whole = blocks_[index];
  const auto part = [&](index_t begin, index_t end) {
    // Copies: a slice would keep all of the memory.
    const auto copy = [&](const Tensor& from) {
      const Tensor rows = from.slice(begin, end);
      Tensor to = context.empty(rows.shape(), DType::f32);
      if (!context.planning()) context.memory->device().copy(to.raw(), rows.raw(), rows.bytes());
      return to;
    };
    Block rows{.first = whole.first + begin, .count = end - begin, .done = whole.done, .x = copy(whole.x), .previous = {}};
    std::ranges::transform(whole.previous, rows.previous.begin(), copy);
    return rows;
  };
  Block first = part(0, count), rest = part(count, whole.count);
  blocks_[index] = std::move(first);
  blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(rest));
}

/// Blocks, in their order, of as many pictures as are to take a step.
std::vector<std::size_t> Sampling::choose(const Context& context, index_t pictures) {
  check(pictures >= 1 && pictures <= unfinished(), "pictures that are not finished take a step");
  std::vector<index_t> firsts;  // of chosen blocks
  for (index_t left = pictures; left > 0;) {
    std::size_t next = blocks_.size();
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (std::ranges::find(firsts, blocks_[i].first) == firsts.end() && (next == blocks_.size() || blocks_[i].done < blocks_[next].done))
        next = i;
    if (blocks_[next].count > left) split(context, next, left);
    firsts.push_back(blocks_[next].first);
    left -= blocks_[next].count;
  }
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    if (std::ranges::find(firsts, blocks_[i].first) != firsts.end()) chosen.push_back(i);
  return chosen;
}

index_t Sampling::pictures_in(const std::vector<std::size_t>& chosen) const {
  index_t count = 0;
  for (const std::size_t i : chosen) count += blocks_[i].count;
  return count;
}

// What the UNet sees of pictures from `first` on, on one side of the guidance.
Tensor Sampling::with_conditions(const Context& context, const Tensor& scaled, index_t side, index_t first) const {
  if (!input_.conditions.defined()) return scaled;
  const Tensor conditions = input_.conditions.slice(first, first + scaled.dim(0));
  const bool none = sides() == 3 && side == 0;
  return context.backend->concat_channels_forward(context, scaled, none ? context.zeros(conditions.shape()) : conditions);
}

void Sampling::advance(const Context& context, const UNet& unet, std::span<const Part> together) {
  std::vector<std::vector<std::size_t>> chosen;
  for (const auto& [sampling, pictures] : together) chosen.push_back(sampling->choose(context, pictures));

  // Rows of each: with guidance the negative prompts' of all its pictures, then the others; of every picture one for each region.
  std::vector<Tensor> inputs;
  std::vector<double> timesteps, guidance;
  KvView view;
  AdapterRows adapters;
  const bool adapted = std::ranges::any_of(together, [](const Part& part) { return !part.sampling->adapters_.empty(); });
  struct Rows {
    const Sampling* sampling;
    index_t begin, end;
  };
  std::vector<Rows> text_rows;
  for (std::size_t p = 0; p < together.size(); ++p) {
    const Sampling& s = *together[p].sampling;
    std::vector<Tensor> scaled;
    for (const std::size_t i : chosen[p])
      scaled.push_back(context.backend->scale_input(context, s.blocks_[i].x, s.input_.steps[s.blocks_[i].done].input_scale));
    for (index_t side = 0; side < s.sides(); ++side) {
      for (std::size_t k = 0; const std::size_t i : chosen[p]) {
        const Block& block = s.blocks_[i];
        const index_t pictures = s.blocks_.back().end(), regions = s.input_.regions;
        const index_t begin = (side * pictures + block.first) * regions, end = (side * pictures + block.end()) * regions;
        const Tensor seen = s.with_conditions(context, scaled[k++], side, block.first);
        inputs.push_back(regions == 1 ? seen : context.backend->crop_rows(context, seen, s.input_.windows));
        const auto rows = static_cast<std::size_t>(end - begin);
        if (s.tells_guidance_) guidance.insert(guidance.end(), rows, s.input_.guidance - 1);
        timesteps.insert(timesteps.end(), rows, s.input_.steps[block.done].timestep);
        view.masks.insert(view.masks.end(), s.masks_.begin() + begin, s.masks_.begin() + end);
        if (adapted && s.adapters_.empty()) adapters.resize(timesteps.size());
        if (adapted && !s.adapters_.empty()) adapters.insert(adapters.end(), s.adapters_.begin() + begin, s.adapters_.begin() + end);
        if (!text_rows.empty() && text_rows.back().sampling == &s && text_rows.back().end == begin) {
          text_rows.back().end = end;
        } else {
          text_rows.push_back({&s, begin, end});
        }
      }
    }
  }
  TextKv text = together[0].sampling->text_;
  if (together.size() > 1 || !together[0].sampling->whole(chosen[0]))
    for (std::size_t layer = 0; layer < text.keys.size(); ++layer) {
      std::vector<Tensor> keys, values;
      for (const auto& [s, begin, end] : text_rows) {
        keys.push_back(s->text_.keys[layer].value().slice(begin, end));
        values.push_back(s->text_.values[layer].value().slice(begin, end));
      }
      text.keys[layer] = Var(stack(context, keys));
      text.values[layer] = Var(stack(context, values));
    }

  Tape tape(context);
  tape.adapt(adapters);
  const Tensor latents = stack(context, std::exchange(inputs, {}));
  const Tensor output =
      unet.forward(tape, {.latents = Var(latents), .timesteps = timesteps, .guidance = guidance, .text = text, .view = view}).value();
  index_t row = 0;
  for (std::size_t p = 0; p < together.size(); ++p) {
    Sampling& s = *together[p].sampling;
    const index_t rows = s.rows_per_picture() * s.pictures_in(chosen[p]);
    s.solve(context, chosen[p], output.slice(row, row + rows));
    row += rows;
  }
}

// outputs [count·R, windows' height, width, C] → [count, h, w, C]
Tensor Sampling::blend(const Context& context, const Tensor& outputs, const Block& block) const {
  const index_t regions = input_.regions;
  return context.backend->blend_rows(context, outputs, input_.weights.slice(block.first * regions, block.end() * regions), input_.windows);
}

// output [rows, h, w, C], or of windows' size
void Sampling::solve(const Context& context, const std::vector<std::size_t>& chosen, const Tensor& output) {
  const index_t rows = pictures_in(chosen) * input_.regions;
  index_t at = 0;
  for (const std::size_t i : chosen) {
    Block& block = blocks_[i];
    std::vector<Tensor> own;
    for (index_t side = 0; side < sides(); ++side) {
      const Tensor of_regions = output.slice(side * rows + at, side * rows + at + block.count * input_.regions);
      own.push_back(input_.regions == 1 ? of_regions : blend(context, of_regions, block));
    }
    at += block.count * input_.regions;
    // What a block holds from the start means nothing before as many steps.
    std::array<Tensor, SolverStep::kPrevious> previous;
    for (std::size_t p = 0; p < std::min(previous.size(), block.done); ++p) previous[p] = block.previous[p];
    Tensor prediction, next;
    context.backend->solver_step(context,
                                 {.x = block.x,
                                  .previous = std::move(previous),
                                  .output = chosen.size() == 1 && input_.regions == 1 ? output : stack(context, own),
                                  .guided = guided_,
                                  .guidance = input_.guidance,
                                  .by_picture = sides() == 3,
                                  .image_guidance = input_.image_guidance,
                                  .seeds = std::span(input_.seeds).subspan(static_cast<std::size_t>(block.first), static_cast<std::size_t>(block.count)),
                                  .steps_done = block.done},
                                 input_.steps[block.done], prediction, next);
    if (const auto& known = input_.known; known.image.defined()) {
      const auto of = [&](const Tensor& all) { return all.slice(block.first, block.end()); };
      const auto [image_share, noise_share] = known.shares[block.done];
      next = context.backend->keep_known(context, next, of(known.image), of(known.noise), of(known.mask), image_share, noise_share);
    }
    block.x = std::move(next);
    std::ranges::rotate(block.previous, block.previous.end() - 1);
    block.previous[0] = std::move(prediction);
    ++block.done;
  }
}

}  // namespace cones
