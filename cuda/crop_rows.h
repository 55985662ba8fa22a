// Windows of pictures' latents as rows of their own.
#pragma once

#include "library.h"
#include "windows.h"

namespace cones::cuda {

struct CropRowsArgs {
  std::int64_t pictures, height, width, channels;
  std::int64_t bytes;  // of a value: 2 or 4
  WindowList windows;
  const void* x;  // [pictures, height, width, channels]
  void* y;        // [pictures, regions, windows' height, width, channels]
};
int crop_rows(Stream* stream, const CropRowsArgs& args);

}  // namespace cones::cuda
