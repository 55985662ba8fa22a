#include "ops/norm_weights.h"

#include <vector>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones {
namespace {

Tensor read_vector(const Context& context, const Parameter& parameter) {
  if (parameter.values.defined()) return parameter.values;
  std::vector<float> values(static_cast<std::size_t>(context.planning() ? 0 : parameter.size()));
  if (!values.empty()) parameter.read(0, parameter.size(), values.data());
  return upload(context, values, {parameter.size()}, DType::f32);
}

}  // namespace

NormWeights::NormWeights(const Context& context, const Parameter* weight_in, const Parameter* bias_in)
    : weight_parameter(weight_in), bias_parameter(bias_in) {
  if (weight_in->shape.rank() != 1 || bias_in->shape != weight_in->shape)
    fail("CONES_TENSOR_SHAPE", "Normalisation weights " + weight_in->name + " " + weight_in->shape.text() + " and " +
                                   bias_in->name + " " + bias_in->shape.text() +
                                   " must be two vectors of one length. Check that the weights belong to the config.");
  weight = read_vector(context, *weight_in);
  bias = read_vector(context, *bias_in);
}

}  // namespace cones
