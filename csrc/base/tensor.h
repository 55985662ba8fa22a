// A contiguous, row-major tensor with shared storage, in a device's memory. Reshapes and leading-dimension slices share the
// storage. On the CPU elements are fp32; what lies elsewhere is touched by a backend alone (device/backend.h), or copied to the
// host (ops/transfer.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/dtype.h"
#include "base/memory.h"

namespace cones {

using index_t = std::int64_t;

/// Up to four dimensions.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<index_t> dims);
  int rank() const { return rank_; }
  index_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  /// Dimension counted from the end: last(0) is the innermost.
  index_t last(int i = 0) const { return dims_[static_cast<std::size_t>(rank_ - 1 - i)]; }
  index_t size() const;
  /// The same with another first, or innermost, dimension.
  Shape with_first(index_t rows) const;
  Shape with_last(index_t columns) const;
  bool operator==(const Shape& other) const = default;
  std::string text() const;  // "[1, 64, 64, 320]"

 private:
  std::array<index_t, 4> dims_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(Memory& memory, const Shape& shape, DType dtype = DType::f32);

  bool defined() const { return size_ > 0; }
  const Shape& shape() const { return shape_; }
  index_t dim(int i) const { return shape_[i]; }
  index_t size() const { return size_; }
  DType dtype() const { return dtype_; }
  /// In bytes.
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * dtype_size(dtype_); }
  /// The elements where the processor can reach them as floats: fp32 in the host's memory, else a bug. Null while planning.
  float* host() const {
    if (!on_host_ || dtype_ != DType::f32) refuse_host();
    return reinterpret_cast<float*>(data_);
  }
  /// The elements in the device's memory. Null while planning.
  void* raw() const { return data_; }
  /// Rows when seen as a matrix [rows, last dimension].
  index_t rows() const { return size_ / shape_.last(); }
  index_t columns() const { return shape_.last(); }

  /// Same storage, other shape of the same size.
  Tensor reshape(const Shape& shape) const;
  /// Rows [begin, end) of the first dimension; shares storage.
  Tensor slice(index_t begin, index_t end) const;
  /// Whether other tensors have the same storage.
  bool shared() const { return storage_.use_count() > 1; }
  /// Takes the storage off its memory's account (Memory::give_away). False, and nothing done, where others share it.
  bool give_away() const;

 private:
  [[noreturn]] static void refuse_host();

  std::shared_ptr<void> storage_;
  std::byte* data_ = nullptr;
  Shape shape_;
  index_t size_ = 0;
  DType dtype_ = DType::f32;
  bool on_host_ = true;
};

}  // namespace cones
