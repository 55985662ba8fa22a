// The CUDA library (cuda/table.h): found and opened only when somebody asks for CUDA, so that nobody else pays for it.
#pragma once

#include <string>
#include <vector>

#include "cuda/table.h"

namespace cones {

/// What is missing where CUDA cannot be used.
enum class CudaLack { nothing, library, driver, card, architecture };

struct CudaSupport {
  const cuda::Library* library = nullptr;  // null where the library is missing
  std::vector<cuda::DeviceInfo> devices;   // all cards, those too old for the kernels included
  CudaLack lack = CudaLack::nothing;       // nothing: at least one card will do
  int driver = 0;                          // the newest CUDA of the NVIDIA driver, 13000 for 13.0; 0: none is installed
  std::string reason;                      // what is missing and what to do, in sentences; empty where nothing is
};

/// Looks for the library and for cards. The library is `cones_cuda.so` beside the binary that holds this code (the addon), or
/// the file that the environment's CONES_CUDA_LIBRARY names; once open it stays. Does not throw for want of anything.
CudaSupport find_cuda();
/// The second half of it: looks for cards with an open library.
CudaSupport find_cards(const cuda::Library& library);

/// Whether the kernels run on a card.
bool serves(const cuda::DeviceInfo& device);

/// The card to use: `wanted`, or the first that will do where it is negative. CONES_DEVICE_UNAVAILABLE where there is none.
int choose_card(const CudaSupport& support, int wanted);

}  // namespace cones
