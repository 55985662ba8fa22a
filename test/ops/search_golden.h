// What the searches against PyTorch share: the models, runs and batches of test/goldens/models/{search,search-identifier}.
#pragma once

#include <vector>

#include "concepts/search.h"
#include "device/context.h"
#include "diffusion/training_batch.h"
#include "golden.h"
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

/// Rows of a step: two of a subject, two prior ones; and tokens of a caption.
constexpr index_t kGoldenRows = 4, kGoldenTokens = 12;
/// Step k of a golden with captions, on any device. `states` [captions, T, D]: without a learned embedding, those of the table. `shared`:
/// every caption is there once, not once for each of its rows.
TrainingBatch captioned_batch(const Context& context, const Golden& golden, const std::vector<float>& states, index_t k, bool shared = true);

}  // namespace cones::test
