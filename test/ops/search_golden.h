// What the searches against PyTorch share: the UNet and the batches of test/goldens/models/search.
#pragma once

#include <vector>

#include "device/context.h"
#include "model/unet.h"

namespace cones::test {

/// Of search/unet/config.json there.
UNetConfig search_unet_config();

/// Step k of `values` [steps, 4, 4, 8, 8] (rows, channels, sides), channels last: [4, 8, 8, 4].
Tensor search_step_of(const Context& context, const std::vector<float>& values, index_t k);

}  // namespace cones::test
