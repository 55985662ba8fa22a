// Weights that are trained: fp32 values on the device with AdamW's moments.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "device/options.h"
#include "ops/tape.h"

namespace cones {

class TrainedWeights final : public ParameterGradients {
 public:
  /// They start as `parameters`, which must outlive this, are.
  TrainedWeights(const Context& context, std::vector<const Parameter*> parameters);

  std::size_t size() const { return weights_.size(); }
  const Parameter& parameter(std::size_t i) const { return *weights_[i].parameter; }
  /// Shaped like the parameter. The storage stays the same: update() writes to it.
  const Tensor& values(std::size_t i) const { return weights_[i].values; }

  /// One step with the gradients that have arrived, which are gone then. Not to be aborted.
  void update(const Context& context, const AdamStep& step);
  void forget_gradients();

  /// Per weight values, first and second moment.
  std::size_t state_size() const;
  void save(const Context& context, std::span<std::byte> state) const;
  /// Whether the bytes are a state of such weights: finite, and second moments not negative.
  bool fits(std::span<const std::byte> state) const;
  /// Of a state that fits.
  void load(const Context& context, std::span<const std::byte> state);

  // ParameterGradients
  bool wants(const Parameter& parameter) const override { return find(parameter) < size(); }
  void add(const Context& context, const Parameter& parameter, const Tensor& gradient) override;

 private:
  struct Weight {
    const Parameter* parameter;
    Tensor values, first_moment, second_moment;
    Tensor gradient;  // between backward and update
  };
  /// Its place, or size().
  std::size_t find(const Parameter& parameter) const;

  std::vector<Weight> weights_;
};

}  // namespace cones
