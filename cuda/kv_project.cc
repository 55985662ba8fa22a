#include "cuda/kv_project.h"

#include "cuda/backend.h"

namespace cones {
namespace {

/// What a call reads: W and delta, and a mask per batch row.
struct Operand {
  const void* weight;
  const void* delta = nullptr;
  std::vector<const std::uint32_t*> masks;
  const std::uint32_t* const* mask_list() const { return masks.empty() ? nullptr : masks.data(); }

  explicit Operand(const KvOperand& kv) : weight(nullptr) {
    if (kv.gamma) {
      weight = CudaGamma::of(*kv.gamma).weight.raw();
      delta = CudaGamma::of(*kv.gamma).delta.raw();
    } else {
      weight = CudaWeights::of(*kv.weights).weight.raw();
    }
    for (const Prepared* mask : kv.masks) masks.push_back(mask ? CudaMask::of(*mask).bits() : nullptr);
  }
};

/// [n, ⌈k / 32⌉] words.
std::vector<std::uint32_t> bit_words(index_t n, index_t k, std::uint32_t start, std::span<const std::uint32_t> flipped) {
  const index_t pitch = (k + 31) / 32;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(n * pitch), start);
  for (const std::uint32_t index : flipped) {
    const index_t row = index / k, column = index % k;
    words[static_cast<std::size_t>(row * pitch + column / 32)] ^= 1u << (column % 32);
  }
  return words;
}

}  // namespace

PreparedRef Cuda::prepare_mask(const Context& context, index_t n, index_t k, std::span<const std::uint32_t> zeroed) const {
  auto mask = std::make_shared<CudaMask>();
  const std::vector<std::uint32_t> words = bit_words(n, k, ~0u, zeroed);
  mask->words = upload_words(context, words.data(), static_cast<index_t>(words.size()));
  return mask;
}

PreparedRef Cuda::prepare_allowed(const Context& context, index_t n, index_t k, std::span<const std::uint32_t> allowed) const {
  auto mask = std::make_shared<CudaMask>();
  const std::vector<std::uint32_t> words = bit_words(n, k, 0, allowed);
  mask->words = upload_words(context, words.data(), static_cast<index_t>(words.size()));
  return mask;
}

// As θ + delta: 16 bits of the sum would round off what few steps have changed.
PreparedRef Cuda::prepare_gamma(const Context& context, const PreparedRef& weights, const Tensor& values) const {
  auto gamma = std::make_shared<CudaGamma>();
  gamma->weight = CudaWeights::of(*weights).weight;
  gamma->delta = context.empty(values.shape());
  launch(library_.trained_delta, {.type = type(),
                                  .count = values.size(),
                                  .values = floats(values),
                                  .theta = gamma->weight.raw(),
                                  .delta = gamma->delta.raw()});
  return gamma;
}

Tensor Cuda::kv_project_forward(const Context& context, const Tensor& x, const KvOperand& weights, index_t out) const {
  Tensor y = context.empty({x.dim(0), x.dim(1), out});
  const Operand operand(weights);
  launch(library_.kv_project_forward, {.type = type(),
                                       .B = x.dim(0),
                                       .T = x.dim(1),
                                       .N = out,
                                       .K = x.columns(),
                                       .x = x.raw(),
                                       .weight = operand.weight,
                                       .delta = operand.delta,
                                       .masks = operand.mask_list(),
                                       .y = y.raw(),
                                       .mask_of_token = nullptr,
                                       .sparse = nullptr});
  return y;
}

Tensor Cuda::kv_project_backward_input(const Context& context, const Tensor& dy, const KvOperand& weights, index_t in,
                                       const Tensor& onto) const {
  Tensor dx = context.empty({dy.dim(0), dy.dim(1), in});
  const Operand operand(weights);
  launch(library_.kv_project_backward_input, {.type = type(),
                                              .B = dy.dim(0),
                                              .T = dy.dim(1),
                                              .N = dy.columns(),
                                              .K = in,
                                              .dy = dy.raw(),
                                              .weight = operand.weight,
                                              .delta = operand.delta,
                                              .masks = operand.mask_list(),
                                              .onto = onto.raw(),
                                              .dx = dx.raw(),
                                              .mask_of_token = nullptr,
                                              .sparse = nullptr});
  return dx;
}

}  // namespace cones
