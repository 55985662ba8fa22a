// What the searches against PyTorch share: the models, runs and batches of test/goldens/models/{search,search-identifier}.
#pragma once

#include <vector>

#include "concepts/search.h"
#include "device/context.h"
#include "model/config.h"
#include "model/unet.h"

namespace cones::test {

/// Of search/unet/config.json there.
UNetConfig search_unet_config();

/// Of search-identifier/text_encoder/config.json there.
TextConfig identifier_text_config();

/// A run of search/golden.json there, without the tensors to search.
struct SearchGoldenRun {
  const char* name;
  SearchOptions options;
};
std::vector<SearchGoldenRun> search_golden_runs();

/// Step k of `values` [steps, 4, 4, 8, 8] (rows, channels, sides), channels last: [4, 8, 8, 4].
Tensor search_step_of(const Context& context, const std::vector<float>& values, index_t k);

}  // namespace cones::test
