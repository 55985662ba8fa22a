#include "model/layers.h"

namespace cones {

LinearWeights find_linear(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in,
                          bool bias) {
  return LinearWeights(context, weights.find(name + ".weight", {out, in}),
                       bias ? weights.find(name + ".bias", {out}) : nullptr);
}

LinearWeights find_conv1x1(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in) {
  return LinearWeights(context, weights.find(name + ".weight", {out, in, 1, 1}), weights.find(name + ".bias", {out}));
}

ConvWeights find_conv3x3(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in,
                         bool bias) {
  return ConvWeights(context, weights.find(name + ".weight", {out, in, 3, 3}), bias ? weights.find(name + ".bias", {out}) : nullptr);
}

NormWeights find_norm(const Context& context, Weights& weights, const std::string& name, index_t channels) {
  return NormWeights(context, weights.find(name + ".weight", {channels}), weights.find(name + ".bias", {channels}));
}

}  // namespace cones
