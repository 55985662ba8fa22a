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

std::string Shape::text() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

Tensor::Tensor(Memory& memory, const Shape& shape)
    : storage_(memory.allocate(static_cast<std::size_t>(shape.size()) * sizeof(float))),
      data_(static_cast<float*>(storage_.get())),
      shape_(shape),
      size_(shape.size()) {
  check(size_ > 0, "tensors have at least one element");
}

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
  if (data_ != nullptr) view.data_ = data_ + begin * stride;
  switch (shape_.rank()) {
    case 1: view.shape_ = {end - begin}; break;
    case 2: view.shape_ = {end - begin, shape_[1]}; break;
    case 3: view.shape_ = {end - begin, shape_[1], shape_[2]}; break;
    default: view.shape_ = {end - begin, shape_[1], shape_[2], shape_[3]}; break;
  }
  view.size_ = view.shape_.size();
  return view;
}

}  // namespace cones
