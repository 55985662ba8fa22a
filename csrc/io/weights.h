// A model's weights by name, from one safetensors file or from all shards.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/parameter.h"
#include "io/safetensors.h"

namespace cones {

/// Owns the open files: Parameters read from them and stay valid, at the same address, as long as this lives (moved or
/// not). Not for use from several threads at once, but for reading Parameters.
class Weights {
 public:
  /// Opens and checks the files. A tensor that is in two of them is CONES_SAFETENSORS_INVALID.
  explicit Weights(const std::vector<std::string>& files);
  Weights(Weights&&) = default;
  Weights& operator=(Weights&&) = default;

  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// The tensor of this name and shape, in fp32, fp16 or bf16. CONES_TENSOR_MISSING, CONES_TENSOR_SHAPE.
  const Parameter* find(const std::string& name, const Shape& shape);
  /// The same, where two shapes are allowed: a projection stored as [out, in] or as a 1×1 convolution [out, in, 1, 1].
  const Parameter* find_either(const std::string& name, const Shape& shape, const Shape& other);
  /// The parameter of this name if find() has returned it before, else null.
  const Parameter* used(const std::string& name) const;
  /// CONES_TENSOR_UNEXPECTED when some tensors were never asked for: the config does not describe this model. Names that
  /// end in one of `ignored` are let pass.
  void check_all_used(const std::vector<std::string_view>& ignored = {}) const;

  /// CONES_MODEL_CHANGED when somebody has written to one of the files since they were opened.
  void check_unchanged() const;

 private:
  struct Tensor {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
    bool used = false;
    Parameter parameter;  // filled by the first find()
  };

  std::deque<SafetensorsFile> files_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace cones
