// Rows taken from, put into and added to batches; channels side by side; other sizes.
#include <algorithm>

#include "cuda/backend.h"

namespace cones {
namespace {

constexpr std::size_t kByValue = std::size(cuda::RowList{}.values);

}  // namespace

/// `source` for a kernel; `kept` holds what lies on the device as long as the caller needs it.
cuda::RowList Cuda::row_list(const Context& context, std::span<const int> source, Tensor& kept) const {
  cuda::RowList list{.count = static_cast<std::int64_t>(source.size()), .device = nullptr, .values = {}};
  if (source.size() <= kByValue) {
    std::copy(source.begin(), source.end(), list.values);
  } else {
    const std::vector<std::int32_t> words(source.begin(), source.end());
    kept = upload_words(context, words.data(), static_cast<index_t>(words.size()));
    list.device = static_cast<const std::int32_t*>(kept.raw());
  }
  return list;
}

Tensor Cuda::choose_rows_forward(const Context& context, const Tensor& x, std::span<const int> source, const Tensor& rest) const {
  Tensor y = context.empty(x.shape().with_first(static_cast<index_t>(source.size()))), kept;
  const cuda::RowList list = row_list(context, source, kept);
  launch(library_.choose_rows_forward,
         {.row = x.size() / x.dim(0), .x = x.raw(), .rest = rest.raw(), .y = y.raw(), .source = list});
  return y;
}

Tensor Cuda::choose_rows_backward(const Context& context, const Tensor& dy, std::span<const int> source, const Shape& shape) const {
  Tensor dx = context.empty(shape), kept;
  const cuda::RowList list = row_list(context, source, kept);
  launch(library_.choose_rows_backward, {.type = type(),
                                         .x_rows = shape[0],
                                         .row = dx.size() / shape[0],
                                         .dy = dy.raw(),
                                         .dx = dx.raw(),
                                         .source = list});
  return dx;
}

Tensor Cuda::rows_gradient(const Context& context, const Tensor& dy, std::span<const int> source, const Shape& shape) const {
  return cast(context, choose_rows_backward(context, dy, source, shape), DType::f32, 1 / context.gradient_scale);
}

// Few rows have something added, but all are: a learned identifier's among those of a prompt.
void Cuda::add_rows(const Context& context, const Tensor& y, const Tensor& x, std::span<const int> source) const {
  const Tensor none = context.zeros(y.shape());
  const Tensor rows = x.reshape({x.size() / y.columns(), y.columns()});  // a single one may be [D]
  const Tensor addend = choose_rows_forward(context, rows, source, none);
  add(context, y, addend, y);
}

Tensor Cuda::stack_rows(const Context& context, std::span<const Tensor> parts) const {
  index_t rows = 0;
  for (const Tensor& part : parts) rows += part.dim(0);
  Tensor y = context.empty(parts[0].shape().with_first(rows), parts[0].dtype());
  constexpr std::size_t most = std::size(cuda::StackRowsArgs{}.source);
  for (index_t row = 0; !parts.empty(); parts = parts.subspan(std::min(most, parts.size()))) {
    cuda::StackRowsArgs args{.element_bytes = static_cast<int>(dtype_size(y.dtype())),
                             .count = static_cast<int>(std::min(most, parts.size())),
                             .y = nullptr,
                             .source = {},
                             .size = {}};
    const index_t first = row;
    for (int i = 0; i < args.count; ++i) {
      const Tensor& part = parts[static_cast<std::size_t>(i)];
      args.source[i] = part.raw();
      args.size[i] = part.size();
      row += part.dim(0);
    }
    args.y = y.slice(first, row).raw();
    launch(library_.stack_rows, args);
  }
  return y;
}

Tensor Cuda::normalize_rows(const Context& context, const Tensor& x) const {
  Tensor y = context.empty(x.shape(), DType::f32);
  launch(library_.normalise_rows,
         {.type = cuda_type(x.dtype()), .rows = x.rows(), .channels = x.columns(), .x = x.raw(), .y = floats(y)});
  return y;
}

Tensor Cuda::concat_channels_forward(const Context& context, const Tensor& a, const Tensor& b) const {
  Tensor y = context.empty(a.shape().with_last(a.columns() + b.columns()));
  launch(library_.concat_channels_forward, {.rows = y.rows(),
                                            .a_channels = a.columns(),
                                            .b_channels = b.columns(),
                                            .a = a.raw(),
                                            .b = b.raw(),
                                            .y = y.raw()});
  return y;
}

void Cuda::concat_channels_backward(const Context& context, const Tensor& dy, const Shape& shape_a, const Shape& shape_b,
                                    Tensor* da, Tensor* db) const {
  if (da) *da = context.empty(shape_a);
  if (db) *db = context.empty(shape_b);
  launch(library_.concat_channels_backward, {.rows = shape_a.size() / shape_a.last(),
                                             .a_channels = shape_a.last(),
                                             .b_channels = shape_b.last(),
                                             .dy = dy.raw(),
                                             .da = raw(da),
                                             .db = raw(db)});
}

Tensor Cuda::upsample_nearest_forward(const Context& context, const Tensor& x, index_t out_h, index_t out_w) const {
  Tensor y = context.empty({x.dim(0), out_h, out_w, x.dim(3)});
  launch(library_.upsample_nearest_forward, {.type = type(),
                                             .batch = x.dim(0),
                                             .height = x.dim(1),
                                             .width = x.dim(2),
                                             .channels = x.dim(3),
                                             .out_height = out_h,
                                             .out_width = out_w,
                                             .x = x.raw(),
                                             .y = y.raw()});
  return y;
}

Tensor Cuda::upsample_nearest_backward(const Context& context, const Tensor& dy, const Shape& shape_x) const {
  Tensor dx = context.empty(shape_x);
  launch(library_.upsample_nearest_backward, {.type = type(),
                                              .batch = shape_x[0],
                                              .height = shape_x[1],
                                              .width = shape_x[2],
                                              .channels = shape_x[3],
                                              .out_height = dy.dim(1),
                                              .out_width = dy.dim(2),
                                              .dy = dy.raw(),
                                              .dx = dx.raw()});
  return dx;
}

}  // namespace cones
