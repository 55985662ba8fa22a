// Gradients of chosen parameters, kept as tensors.
#pragma once

#include <vector>

#include "ops/tape.h"

namespace cones {

class StoredGradients final : public ParameterGradients {
 public:
  explicit StoredGradients(std::vector<const Parameter*> wanted);

  bool wants(const Parameter& parameter) const override;
  void add(const Context& context, const Parameter& parameter, const Tensor& gradient) override;

  /// In the order of `wanted`; undefined for a parameter that the loss does not depend on.
  std::vector<Tensor>& gradients() { return gradients_; }

 private:
  std::vector<const Parameter*> wanted_;
  std::vector<Tensor> gradients_;
};

}  // namespace cones
