// Inner loops that are not matrix products: elementwise functions, normalisation, softmax; for one instruction set.
//
// All are plain functions of their arguments: results do not depend on how a caller cuts its work, because every
// element (or row, or column of a softmax panel) is computed by the same sequence of operations wherever it lies.
#pragma once

#include <cstdint>

#include "device/activation.h"

namespace cones {

struct VectorKernels {
  // ---- elementwise over n floats ----
  /// y = a + b.
  void (*add)(std::int64_t n, const float* a, const float* b, float* y);
  /// y = activation(x).
  void (*activation)(Activation kind, std::int64_t n, const float* x, float* y);
  /// dx = dy · activation'(x).
  void (*activation_backward)(Activation kind, std::int64_t n, const float* x, const float* dy, float* dx);
  /// y = value · gelu(gate).
  void (*geglu)(std::int64_t n, const float* value, const float* gate, float* y);
  void (*geglu_backward)(std::int64_t n, const float* value, const float* gate, const float* dy, float* dvalue,
                         float* dgate);

  // ---- normalisation; x is [rows, channels], dense ----
  /// Per channel: mean[c] over the rows and m2[c] = Σ (x − mean[c])². Meant for few rows (a block that fits in cache);
  /// callers merge blocks in double.
  void (*channel_moments)(std::int64_t rows, std::int64_t channels, const float* x, float* mean, float* m2);
  /// y = act((x − mean[c]) · scale[c] + shift[c]), act = SiLU or nothing.
  void (*normalize_channels)(std::int64_t rows, std::int64_t channels, const float* x, const float* mean,
                             const float* scale, const float* shift, bool silu, float* y);
  /// First half of group norm's backward. z = (x − mean[c]) · scale[c] + shift[c] is recomputed;
  /// dz = dy · act'(z) is written, and per channel sum[c] = Σ dz and dot[c] = Σ dz · (x − mean[c]).
  void (*normalize_channels_backward)(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                      const float* mean, const float* scale, const float* shift, bool silu, float* dz,
                                      float* sum, float* dot);
  /// dx = dz · a[c] + (x − mean[c]) · b[c] + d[c].
  void (*combine_channels)(std::int64_t rows, std::int64_t channels, const float* x, const float* dz,
                           const float* mean, const float* a, const float* b, const float* d, float* dx);
  /// Layer norm of each row. statistics (or null): mean and 1/√(variance + eps) per row.
  void (*layer_norm)(std::int64_t rows, std::int64_t channels, const float* x, const float* weight, const float* bias,
                     float eps, float* y, float* statistics);
  /// dx of each row.
  void (*layer_norm_backward)(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                              const float* weight, const float* statistics, float* dx);
  /// dweight[c] += Σ dy · (x − mean) · rstd and dbias[c] += Σ dy over the rows.
  void (*layer_norm_weight_gradients)(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                      const float* statistics, float* dweight, float* dbias);

  // ---- softmax over the keys of a panel [keys, width], one query per column. Columns are processed in whole vectors
  // of up to 16: the panel and the arrays per column must have room for `columns` rounded up to that. ----
  /// One step of the online softmax in base 2. In: scores s; running maximum and sum of each column.
  /// Out: s = 2^(s − new maximum), maximum and sum brought up to date, and correction = 2^(old maximum − new maximum),
  /// by which everything accumulated so far must be multiplied. Start with maximum = −∞, sum = 0.
  void (*softmax_panel)(std::int64_t keys, int columns, int width, float* s, float* maximum, float* sum,
                        float* correction);
  /// rows [count, width] *= factor[column].
  void (*scale_panel)(std::int64_t count, int columns, int width, float* rows, const float* factor);
  /// rows [count, width] = rows · factor[column] + addend [count, width].
  void (*scale_add_panel)(std::int64_t count, int columns, int width, float* rows, const float* factor,
                          const float* addend);
  /// Backward: s becomes the probabilities p = 2^(s − logsumexp2), ds becomes p · (ds − delta).
  void (*softmax_panel_backward)(std::int64_t keys, int columns, int width, float* s, float* ds,
                                 const float* logsumexp2, const float* delta);
  /// target [columns, rows] = factor · sourceᵀ for source [rows, columns] with the given strides between rows.
  void (*transpose)(std::int64_t rows, std::int64_t columns, const float* source, std::int64_t source_stride,
                    float factor, float* target, std::int64_t target_stride);
};

}  // namespace cones
