#pragma once

namespace cones {

/// Elementwise activations, named as in the configs of diffusers and transformers.
enum class Activation { silu, gelu, quick_gelu, gelu_tanh, relu };

}  // namespace cones
