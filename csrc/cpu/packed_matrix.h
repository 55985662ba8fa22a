// Weights as the matrix kernels read them: panels of as many columns as one tile has.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cpu/backend.h"

namespace cones {

/// The right-hand operand B [K, N], in panels of `panel_width` columns: element (k, n) is
/// panel(n / width)[k * width + n % width]; columns beyond N are zero.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Uninitialised, for the kernels of this context.
  PackedMatrix(const Context& context, index_t k, index_t n);

  /// From B(k, n) = b[k * k_stride + n * n_stride]. A weight W [N, K] is packed as B = Wᵀ by (w, K, N, 1, K), and as
  /// B = W, for the gradient of the input, by (w, N, K, K, 1).
  static PackedMatrix pack(const Context& context, const float* b, index_t k, index_t n, index_t k_stride,
                           index_t n_stride);
  /// `read(n, count, lane, columns)` writes the columns from n on, [count, K]; called from several threads, `lane` names the
  /// one. A run is a panel: weights come from a file in reads of many rows.
  static PackedMatrix from_runs(const Context& context, index_t k, index_t n,
                                const std::function<void(index_t n, index_t count, int lane, float* columns)>& read);
  /// The same, column by column: `read(n, lane, column)` writes column n [K].
  static PackedMatrix from_columns(const Context& context, index_t k, index_t n,
                                   const std::function<void(index_t n, int lane, float* column)>& read);
  /// B [K, N] as Bᵀ [N, K].
  PackedMatrix transposed(const Context& context) const;
  /// Writes row k from [N] floats. (Storage is shared between copies, so this is const like Tensor::data.)
  void set_row(index_t k, const float* row) const;

  bool defined() const { return storage_.defined(); }
  std::size_t bytes() const { return storage_.bytes(); }
  index_t k() const { return k_; }
  index_t n() const { return n_; }
  int width() const { return width_; }
  index_t panels() const { return (n_ + width_ - 1) / width_; }
  /// [K][width]
  float* panel(index_t i) const { return storage_.host() + i * k_ * width_; }

 private:
  static PackedMatrix from_rows(const Context& context, const float* b, index_t k, index_t n, index_t stride);

  Tensor storage_;  // [panels, K, width]
  index_t k_ = 0, n_ = 0;
  int width_ = 0;
};

/// Which elements of a PackedMatrix are kept, one bit each, in the panels' order.
class PackedMask {
 public:
  /// `zeroed`: flat indices into W [N, K], row-major, each below n·k, of the weights that are shut; the rest is kept.
  /// `panel_width`: kernels->gemm->panel_width of the context.
  static PackedMask from_indices(int panel_width, index_t n, index_t k, std::span<const std::uint32_t> zeroed);

  /// [K][width / 8] bytes; bit j of row k is 1 where element (k, i · width + j) is kept.
  const std::uint8_t* panel(index_t i) const { return bits_.data() + i * k_ * (width_ / 8); }
  index_t k() const { return k_; }
  index_t n() const { return n_; }
  int width() const { return width_; }

 private:
  std::vector<std::uint8_t> bits_;
  index_t k_ = 0, n_ = 0;
  int width_ = 0;
};

/// A PackedMatrix that is made on first use, by one of several threads, and then kept: backward's weights, which most
/// layers never need. Its memory knows of it, and may drop it (Memory::drop_remakable). Movable.
class LazyPackedMatrix {
 public:
  /// Of `context`'s memory. `make` must not refer to anything that moves with this object.
  LazyPackedMatrix(const Context& context, std::function<PackedMatrix(const Context&)> make);
  LazyPackedMatrix(LazyPackedMatrix&&) noexcept;
  LazyPackedMatrix& operator=(LazyPackedMatrix&&) noexcept;
  ~LazyPackedMatrix();

  /// Shares the kept storage. While planning, what is not packed yet is counted, once per plan.
  PackedMatrix get(const Context& context) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cones
