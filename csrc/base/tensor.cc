#include "base/tensor.h"

#include "base/error.h"

namespace cones {

Shape::Shape(std::initializer_list<index_t> dims) {
  check(dims.size() <= dims_.size(), "a shape has at most four dimensions");
  for (index_t d : dims) dims_[static_cast<std::size_t>(rank_++)] = d;
}

index_t Shape::size() const {
  index_t size = rank_ > 0 ? 1 : 0;
  for (int i = 0; i < rank_; ++i) size *= (*this)[i];
  return size;
}

Shape Shape::with_first(index_t rows) const {
  Shape shape = *this;
  shape.dims_[0] = rows;
  return shape;
}

Shape Shape::with_last(index_t columns) const {
  Shape shape = *this;
  shape.dims_[static_cast<std::size_t>(rank_ - 1)] = columns;
  return shape;
}

std::string Shape::text() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

Tensor::Tensor(Memory& memory, const Shape& shape, DType dtype)
    : storage_(memory.allocate(static_cast<std::size_t>(shape.size()) * dtype_size(dtype))),
      data_(static_cast<std::byte*>(storage_.get())),
      shape_(shape),
      size_(shape.size()),
      dtype_(dtype),
      on_host_(memory.device().host()) {
  check(size_ > 0, "tensors have at least one element");
}

void Tensor::refuse_host() { fail("CONES_INTERNAL", "Host code touches fp32 tensors in the host's memory alone."); }

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.size() == size_, "reshape keeps the number of elements");
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

bool Tensor::give_away() const {
  if (!defined() || shared()) return false;
  Memory::give_away(storage_);
  return true;
}

Tensor Tensor::slice(index_t begin, index_t end) const {
  check(0 <= begin && begin < end && end <= shape_[0], "slice within bounds");
  const index_t stride = size_ / shape_[0];
  Tensor view = *this;
  if (data_ != nullptr) view.data_ = data_ + static_cast<std::size_t>(begin * stride) * dtype_size(dtype_);
  view.shape_ = shape_.with_first(end - begin);
  view.size_ = view.shape_.size();
  return view;
}

}  // namespace cones
