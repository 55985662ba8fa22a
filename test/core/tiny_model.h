// The whole model of test/goldens/models/pipeline, with random weights, and inputs for its jobs.
#pragma once

#include <memory>
#include <vector>

#include "jobs/adapter.h"
#include "jobs/drawing.h"
#include "jobs/latents.h"
#include "model/model.h"

namespace cones::test {

constexpr index_t kTokens = 7, kSide = 8;  // of its texts and latents here

/// Its files and configs, on the CPU.
ModelOptions tiny_options();
/// `limit`: bytes besides the weights. A model of one's own: what it has packed for gradients and its peak are of the test alone.
std::shared_ptr<const Model> tiny_model(std::size_t limit = std::size_t{1} << 30);
/// Peak bytes above the weights so far.
std::size_t peak_of(const Model& model);

/// Normally distributed; the same for the same seed.
std::vector<float> floats(index_t count, unsigned seed);
/// Every `stride`-th weight of every K-V tensor is shut.
std::shared_ptr<const ConceptMask> mask_of(const std::shared_ptr<const Model>& model, std::uint32_t stride);

/// Of every layer of the UNet, in fp32, with this rank.
std::shared_ptr<const Adapter> adapter_of(const std::shared_ptr<const Model>& model, index_t rank, unsigned seed);

jobs::TrainingInput training_input(const Model& model, index_t batch, unsigned seed);
/// Its steps add noise.
jobs::Drawing drawing_input(const Model& model, index_t batch, int steps, bool guided, unsigned seed);
/// Of a model whose UNet sees 9 channels, or with `known` what is kept of pictures; guided.
std::shared_ptr<const Model> tiny_inpainting_model(std::size_t limit = std::size_t{1} << 30);
jobs::Drawing edit_input(const Model& model, index_t batch, int steps, bool by_picture, bool known, unsigned seed);
/// The same with `regions` texts for each picture, and weights that add up to 1.
jobs::Drawing regional_input(const Model& model, index_t batch, index_t regions, bool guided, unsigned seed);

}  // namespace cones::test
