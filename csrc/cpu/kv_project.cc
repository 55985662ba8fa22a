#include "cpu/kv_project.h"

#include <functional>

#include "base/error.h"
#include "cpu/kernels/kernels.h"
#include "cpu/linear.h"

namespace cones {
namespace {

// Calls f(first row, one past the last row, mask) for every run of batch rows with one mask.
void for_each_run(std::span<const Prepared* const> masks, index_t batch,
                  const std::function<void(index_t, index_t, const Prepared*)>& f) {
  if (masks.empty()) return f(0, batch, nullptr);
  for (index_t begin = 0, end; begin < batch; begin = end) {
    const Prepared* mask = masks[static_cast<std::size_t>(begin)];
    for (end = begin + 1; end < batch && masks[static_cast<std::size_t>(end)] == mask;) ++end;
    f(begin, end, mask);
  }
}

// (M ⊙ W) as B [out, in]. Only gradients through a masked network need it (researchers, not the sampler), so it is
// packed when asked for.
PackedMatrix pack_masked_backward(const Context& context, const Parameter& parameter, const CpuMask& mask) {
  const index_t out = parameter.shape[0], in = parameter.size() / out;
  const Tensor dense = read_all(context, parameter);
  cpu_of(context).run(1, [&](index_t, int) {
    for (std::uint32_t index : mask.zeroed) dense.host()[index] = 0.0f;
  });
  return PackedMatrix::pack(context, dense.host(), out, in, in, 1);
}

}  // namespace

PreparedRef Cpu::prepare_mask(const Context&, index_t n, index_t k, std::span<const std::uint32_t> zeroed) const {
  return std::make_shared<CpuMask>(kernels().gemm->panel_width, n, k, zeroed);
}

Tensor Cpu::kv_project_forward(const Context& context, const Tensor& x, const KvOperand& weights, index_t out) const {
  const index_t batch = x.dim(0), tokens = x.dim(1), in = x.dim(2);
  Tensor y = context.empty({batch, tokens, out});
  const PackedMatrix& matrix = weights.gamma ? CpuGamma::of(*weights.gamma).forward : CpuLinear::of(*weights.weights).forward;
  for_each_run(weights.masks, batch, [&](index_t begin, index_t end, const Prepared* mask) {
    gemm(context, x.host() + begin * tokens * in, in, (end - begin) * tokens, matrix, y.host() + begin * tokens * out,
         out, {}, mask ? &CpuMask::of(*mask).packed : nullptr);
  });
  return y;
}

Tensor Cpu::kv_project_backward_input(const Context& context, const Tensor& dy, const KvOperand& weights, index_t in,
                                      const Tensor& onto) const {
  const index_t batch = dy.dim(0), rows = dy.dim(1), out = dy.dim(2);
  Tensor dx = context.empty({batch, rows, in});
  for_each_run(weights.masks, batch, [&](index_t begin, index_t end, const Prepared* mask) {
    // γ changes with every step: turned here and let go, it takes a tensor's memory and not all tensors'.
    const PackedMatrix matrix =
        weights.gamma ? CpuGamma::of(*weights.gamma).forward.transposed(context)
        : mask        ? pack_masked_backward(context, *CpuLinear::of(*weights.weights).weight, CpuMask::of(*mask))
                      : CpuLinear::of(*weights.weights).backward.get(context);
    gemm(context, dy.host() + begin * rows * out, out, (end - begin) * rows, matrix, dx.host() + begin * rows * in, in,
         {.residual = onto.defined() ? onto.host() + begin * rows * in : nullptr});
  });
  return dx;
}

}  // namespace cones
