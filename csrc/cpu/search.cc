#include <cstring>

#include "cpu/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kv_project.h"
#include "cpu/linear.h"

namespace cones {
namespace {

struct CpuAllowed final : Prepared {
  std::vector<bool> weights;  // by flat index
};

// One step for rows [row, row + rows) and columns [column, column + columns) of a tensor, whose gradient is a tile.
void update(const Kernels& kernels, const SearchState& state, const SearchUpdate& step, index_t row, index_t rows,
            index_t column, index_t columns, const float* gradient, index_t stride) {
  const index_t in = state.displacement.columns();
  const auto at = [](const Tensor& tensor, index_t i) { return tensor.defined() ? tensor.host() + i : nullptr; };
  const auto run = [&](index_t i, index_t count, const float* g) {
    kernels.search->update(step, count, at(state.theta, i), g, at(state.displacement, i), at(state.first_moment, i),
                           at(state.second_moment, i), at(state.score, i));
  };
  const auto* allowed = static_cast<const CpuAllowed*>(state.allowed.get());
  for (index_t r = 0; r < rows; ++r) {
    const index_t begin = (row + r) * in + column;
    if (allowed == nullptr) {
      run(begin, columns, gradient + r * stride);
    } else {  // few
      for (index_t c = 0; c < columns; ++c)
        if (allowed->weights[static_cast<std::size_t>(begin + c)]) run(begin + c, 1, gradient + r * stride + c);
    }
  }
}

// γ of weights [place, place + n).
void shut(const SearchCut& cut, const RankKey& last, index_t n, const float* theta, const float* displacement, const float* score,
          index_t place, float* gamma) {
  for (index_t i = 0; i < n; ++i)
    gamma[i] = is_chosen(last, cut.per_step, displacement[i], score + i, place + i) ? 0 : theta[i];
}

}  // namespace

PreparedRef Cpu::prepare_allowed(const Context&, index_t n, index_t k, std::span<const std::uint32_t> allowed) const {
  auto prepared = std::make_shared<CpuAllowed>();
  prepared->weights.assign(static_cast<std::size_t>(n * k), false);
  for (std::uint32_t index : allowed) prepared->weights[index] = true;
  return prepared;
}

Tensor Cpu::search_theta(const Context& context, const Parameter& weight, const PreparedRef&) const {
  return read_all(context, weight);
}

PreparedRef Cpu::search_gamma(const Context& context, const SearchState& state, const SearchCut* cut) const {
  const index_t out = state.displacement.dim(0), in = state.displacement.columns();
  auto gamma = std::make_shared<CpuGamma>();
  gamma->forward = PackedMatrix::from_columns(context, in, out, [&](index_t row, int, float* values) {
    const float* theta = state.theta.host() + row * in;
    const float* displacement = state.displacement.host() + row * in;
    if (cut != nullptr) {
      RankKey last;
      std::memcpy(last.data(), cut->last.host(), sizeof last);
      shut(*cut, last, in, theta, displacement, state.score.host() + row * in, state.first + row * in, values);
    } else {
      kernels().search->scale(in, theta, displacement, values);
    }
  });
  return gamma;
}

void Cpu::search_update_outer(const Context& context, const Tensor& x, const Tensor& dy, const SearchState& state,
                              const SearchUpdate& step, const Tensor& finite) const {
  gemm_outer_tiles(context, dy, x,
                   [&](index_t row, index_t rows, index_t column, index_t columns, const float* tile, index_t stride, int) {
                     if (finite.defined() && *finite.host() == 0) return;
                     update(kernels(), state, step, row, rows, column, columns, tile, stride);
                   });
}

}  // namespace cones
