// Windows of pictures' latents as rows of their own.
#pragma once

#include "library.h"
#include "windows.h"

namespace cones::cuda {

struct CropRowsArgs {
  std::int64_t pictures, height, width, channels;
  WindowList windows;
  const float* x;  // [pictures, height, width, channels]
  float* y;        // [pictures, regions, windows' height, width, channels]
};
int crop_rows(Stream* stream, const CropRowsArgs& args);

}  // namespace cones::cuda
