// Normals of the counter-based stream of csrc/base/rng.h: initial latents made on the device, equal bit by bit to the CPU's.
#pragma once

#include "library.h"

namespace cones::cuda {

struct PhiloxNormalArgs {
  std::uint64_t seed, offset;  // values [offset, offset + count) of stream `seed`
  float* out;                  // [count]
  std::int64_t count;
};

int philox_normal(Stream* stream, const PhiloxNormalArgs& args);

}  // namespace cones::cuda
