// What each region of a picture sees of its latents: windows of one size.
#pragma once

#include <cstdint>

namespace cones::cuda {

constexpr int kMostWindows = 16;

struct WindowList {
  std::int64_t regions, height, width;
  std::int32_t top[kMostWindows], left[kMostWindows];
};

/// Whether all of them lie in latents of this size.
inline bool within(const WindowList& windows, std::int64_t height, std::int64_t width) {
  if (windows.regions <= 0 || windows.regions > kMostWindows || windows.height <= 0 || windows.width <= 0) return false;
  for (int r = 0; r < windows.regions; ++r)
    if (windows.top[r] < 0 || windows.left[r] < 0 || windows.top[r] + windows.height > height || windows.left[r] + windows.width > width) return false;
  return true;
}

}  // namespace cones::cuda
