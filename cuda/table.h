// All that the CUDA library gives to the core, as one table: the library exports nothing but the function that returns it.
#pragma once

#include "activation.h"
#include "adam.h"
#include "add.h"
#include "affine.h"
#include "attention.h"
#include "blend_rows.h"
#include "cast.h"
#include "choose_rows.h"
#include "concat.h"
#include "conv2d.h"
#include "crop_rows.h"
#include "device.h"
#include "gather_rows.h"
#include "geglu.h"
#include "group_norm.h"
#include "keep_known.h"
#include "kv_project.h"
#include "layer_norm.h"
#include "library.h"
#include "limit_norm.h"
#include "linear.h"
#include "mse_loss.h"
#include "noised_rows.h"
#include "normalise_rows.h"
#include "outer.h"
#include "philox_normal.h"
#include "scale_to.h"
#include "search.h"
#include "solver_step.h"
#include "stack_rows.h"
#include "trained_delta.h"
#include "upsample.h"

/// X(name) for each function of cuda/*.h that the core calls.
#define CONES_CUDA_FUNCTIONS(X)            \
  /* devices */                            \
  X(cuda_versions)                         \
  X(device_count)                          \
  X(device_info)                           \
  X(stream_open)                           \
  X(stream_close)                          \
  X(memory_available)                      \
  X(allocate)                              \
  X(release)                               \
  X(upload)                                \
  X(download)                              \
  X(copy)                                  \
  X(zero)                                  \
  X(finish)                                \
  X(error_text)                            \
  X(launches)                              \
  /* sampling and training */              \
  X(philox_normal)                         \
  X(solver_step)                           \
  X(keep_known)                            \
  X(noised_rows)                           \
  X(mse_loss)                              \
  X(adam)                                  \
  X(limit_norm)                            \
  /* products, convolutions, attention */  \
  X(attention_forward)                     \
  X(attention_backward)                    \
  X(conv2d_pack)                           \
  X(conv2d_forward_scratch)                \
  X(conv2d_forward)                        \
  X(conv2d_backward_input_scratch)         \
  X(conv2d_backward_input)                 \
  X(conv2d_backward_weight_scratch)        \
  X(conv2d_backward_weight)                \
  X(linear_forward)                        \
  X(linear_backward_input)                 \
  /* concepts */                           \
  X(kv_project_forward)                    \
  X(kv_project_backward_input)             \
  X(outer_scratch)                         \
  X(outer)                                 \
  X(column_sums_scratch)                   \
  X(column_sums)                           \
  X(search_update_outer_scratch)           \
  X(search_update_outer)                   \
  X(search_gamma)                          \
  X(search_highest)                        \
  X(trained_delta)                         \
  /* everything else */                    \
  X(activation_forward)                    \
  X(activation_backward)                   \
  X(add_forward)                           \
  X(affine_forward)                        \
  X(blend_rows)                            \
  X(crop_rows)                             \
  X(cast)                                  \
  X(choose_rows_forward)                   \
  X(choose_rows_backward)                  \
  X(concat_channels_forward)               \
  X(concat_channels_backward)              \
  X(gather_rows)                           \
  X(geglu_forward)                         \
  X(geglu_backward)                        \
  X(group_norm_scratch)                    \
  X(group_norm_forward)                    \
  X(group_norm_backward)                   \
  X(layer_norm_forward)                    \
  X(layer_norm_backward)                   \
  X(layer_norm_backward_scratch)           \
  X(normalise_rows)                        \
  X(scale_to)                              \
  X(stack_rows)                            \
  X(upsample_nearest_forward)              \
  X(upsample_nearest_backward)

namespace cones::cuda {

/// Of this table and of the structs of its functions. To change either is to change this.
constexpr int kVersion = 7;

struct Library {
  int version;
#define X(name) decltype(&cuda::name) name;
  CONES_CUDA_FUNCTIONS(X)
#undef X
};

}  // namespace cones::cuda

/// The library's only export; null where it has another version.
extern "C" const cones::cuda::Library* cones_cuda_library(int version);
