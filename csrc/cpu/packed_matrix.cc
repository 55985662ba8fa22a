#include "cpu/packed_matrix.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "cpu/kernels/kernels.h"

namespace cones {

PackedMatrix::PackedMatrix(const Context& context, index_t k, index_t n)
    : k_(k), n_(n), width_(cpu_of(context).kernels().gemm->panel_width) {
  storage_ = context.empty({panels(), k, width_});
}

PackedMatrix PackedMatrix::from_runs(const Context& context, index_t k, index_t n,
                                     const std::function<void(index_t, index_t, int, float*)>& read) {
  PackedMatrix packed(context, k, n);
  const index_t width = packed.width_;
  const Tensor scratch = context.empty({cpu_of(context).threads(), width, k});
  cpu_of(context).parallel(packed.panels(), 1, [&](index_t begin, index_t end, int lane) {
    float* columns = scratch.host() + lane * width * k;  // [width, K]
    for (index_t i = begin; i < end; ++i) {
      const index_t used = std::min(width, n - i * width);
      read(i * width, used, lane, columns);
      std::fill(columns + used * k, columns + width * k, 0.0f);
      cpu_of(context).kernels().vector->transpose(width, k, columns, k, 1.0f, packed.panel(i), width);
    }
  });
  return packed;
}

PackedMatrix PackedMatrix::from_columns(const Context& context, index_t k, index_t n,
                                        const std::function<void(index_t, int, float*)>& read) {
  return from_runs(context, k, n, [&](index_t first, index_t count, int lane, float* columns) {
    for (index_t j = 0; j < count; ++j) read(first + j, lane, columns + j * k);
  });
}

PackedMatrix PackedMatrix::from_rows(const Context& context, const float* b, index_t k, index_t n, index_t stride) {
  PackedMatrix packed(context, k, n);
  cpu_of(context).parallel(k, 16, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) packed.set_row(i, b + i * stride);
  });
  return packed;
}

PackedMatrix PackedMatrix::pack(const Context& context, const float* b, index_t k, index_t n, index_t k_stride,
                                index_t n_stride) {
  if (n_stride == 1) return from_rows(context, b, k, n, k_stride);
  return from_columns(context, k, n, [&](index_t column, int, float* out) {
    const float* from = b + column * n_stride;
    if (k_stride == 1) {
      std::copy_n(from, k, out);
    } else {
      for (index_t i = 0; i < k; ++i) out[i] = from[i * k_stride];
    }
  });
}

PackedMatrix PackedMatrix::transposed(const Context& context) const {
  PackedMatrix turned(context, n_, k_);
  const Tensor scratch = context.empty({cpu_of(context).threads(), width_, k_});
  cpu_of(context).parallel(panels(), 1, [&](index_t begin, index_t end, int lane) {
    float* const rows = scratch.host() + lane * width_ * k_;  // [width, K], a panel turned
    for (index_t i = begin; i < end; ++i) {
      cpu_of(context).kernels().vector->transpose(k_, width_, panel(i), width_, 1.0f, rows, k_);
      for (index_t j = 0; j < width_ && i * width_ + j < n_; ++j) turned.set_row(i * width_ + j, rows + j * k_);
    }
  });
  return turned;
}

void PackedMatrix::set_row(index_t k, const float* row) const {
  for (index_t i = 0; i < panels(); ++i) {
    float* to = panel(i) + k * width_;
    const index_t used = std::min<index_t>(width_, n_ - i * width_);
    std::copy_n(row + i * width_, used, to);
    std::fill(to + used, to + width_, 0.0f);
  }
}

PackedMask PackedMask::from_indices(int panel_width, index_t n, index_t k, std::span<const std::uint32_t> zeroed) {
  PackedMask mask;
  mask.k_ = k;
  mask.n_ = n;
  mask.width_ = panel_width;
  const index_t panels = (n + panel_width - 1) / panel_width;
  mask.bits_.assign(static_cast<std::size_t>(panels * k * (panel_width / 8)), 0xff);
  for (const index_t index : zeroed) {
    check(index < n * k, "mask indices lie within the weight");
    const index_t column = index / k, row = index % k, j = column % panel_width;
    std::uint8_t& byte =
        mask.bits_[static_cast<std::size_t>((column / panel_width * k + row) * (panel_width / 8) + j / 8)];
    byte = static_cast<std::uint8_t>(byte & ~(1u << (j % 8)));
  }
  return mask;
}

struct LazyPackedMatrix::State final : Remakable {
  std::size_t bytes() const override { return held; }
  void drop() override {
    std::lock_guard lock(mutex);
    packed = PackedMatrix();
    held = 0;
  }

  std::function<PackedMatrix(const Context&)> make;
  std::mutex mutex;
  PackedMatrix packed;
  std::atomic<std::size_t> held = 0;  // by `packed`; read without the mutex, which packing holds for long
  PackedMatrix planned;               // counts in the plan `plan`
  std::weak_ptr<Memory> plan;
};

LazyPackedMatrix::LazyPackedMatrix(const Context& context, std::function<PackedMatrix(const Context&)> make)
    : state_(std::make_shared<State>()) {
  state_->make = std::move(make);
  context.memory->enlist(state_);
}
LazyPackedMatrix::LazyPackedMatrix(LazyPackedMatrix&&) noexcept = default;
LazyPackedMatrix& LazyPackedMatrix::operator=(LazyPackedMatrix&&) noexcept = default;
LazyPackedMatrix::~LazyPackedMatrix() = default;

PackedMatrix LazyPackedMatrix::get(const Context& context) const {
  std::lock_guard lock(state_->mutex);
  if (state_->packed.defined()) return state_->packed;
  if (context.planning()) {
    if (!state_->planned.defined() || state_->plan.lock() != context.memory) {
      state_->planned = state_->make(context);
      state_->plan = context.memory;
    }
    return state_->planned;
  }
  state_->planned = PackedMatrix();
  state_->packed = state_->make(context);
  state_->held = Memory::block_size(state_->packed.bytes());
  return state_->packed;
}

}  // namespace cones
