#include "ops/stored_gradients.h"

#include <algorithm>

#include "ops/add.h"

namespace cones {

StoredGradients::StoredGradients(std::vector<const Parameter*> wanted)
    : wanted_(std::move(wanted)), gradients_(wanted_.size()) {}

bool StoredGradients::wants(const Parameter& parameter) const {
  return std::find(wanted_.begin(), wanted_.end(), &parameter) != wanted_.end();
}

void StoredGradients::add(const Context& context, const Parameter& parameter, const Tensor& gradient) {
  const auto at = std::find(wanted_.begin(), wanted_.end(), &parameter) - wanted_.begin();
  Tensor& slot = gradients_[static_cast<std::size_t>(at)];
  slot = slot.defined() ? add_forward(context, slot, gradient) : gradient;
}

}  // namespace cones
