// A model's weights by name: from one safetensors file, from all shards, or from files of any format, as a list says.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/parameter.h"
#include "io/safetensors.h"

namespace cones {

/// A tensor as whoever has read its file's header describes it: a PyTorch checkpoint, or a safetensors file with names of
/// another program. Its elements lie together, the last dimension's beside each other.
struct StoredTensor {
  std::string name;                  // the one that the model asks for
  std::string dtype;                 // as safetensors calls it
  std::vector<std::uint64_t> shape;  // the one that the model asks for
  std::size_t file = 0;              // index into WeightFiles::paths
  std::uint64_t offset = 0;          // of its first byte in the file
};

/// Where weights are.
struct WeightFiles {
  WeightFiles() = default;
  WeightFiles(std::vector<std::string> files, std::optional<std::vector<StoredTensor>> list = std::nullopt)
      : paths(std::move(files)), tensors(std::move(list)) {}
  WeightFiles(std::initializer_list<std::string> files) : paths(files) {}

  std::vector<std::string> paths;
  /// What is in the files. Absent: they are safetensors, and say so themselves.
  std::optional<std::vector<StoredTensor>> tensors;
};

/// Owns the open files: Parameters read from them and stay valid, at the same address, as long as this lives (moved or
/// not). Not for use from several threads at once, but for reading Parameters.
class Weights {
 public:
  /// Opens and checks the files. CONES_SAFETENSORS_INVALID for a name that two tensors have; CONES_CHECKPOINT_INVALID for a
  /// listed tensor that is not inside its file.
  explicit Weights(const WeightFiles& files);
  Weights(Weights&&) = default;
  Weights& operator=(Weights&&) = default;

  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// The tensor of this name and shape, in fp32, fp16 or bf16. CONES_TENSOR_MISSING, CONES_TENSOR_SHAPE.
  const Parameter* find(const std::string& name, const Shape& shape);
  /// The same, where two shapes are allowed: a projection stored as [out, in] or as a 1×1 convolution [out, in, 1, 1].
  const Parameter* find_either(const std::string& name, const Shape& shape, const Shape& other);
  /// The parameter of this name if find() has returned it before, else null.
  const Parameter* used(const std::string& name) const;
  /// All that find() has returned, in the order of their names.
  std::vector<Parameter*> all_used();
  /// CONES_TENSOR_UNEXPECTED when some tensors were never asked for: the config does not describe this model. Names that
  /// end in one of `ignored` are let pass.
  void check_all_used(const std::vector<std::string_view>& ignored = {}) const;

  /// CONES_MODEL_CHANGED when somebody has written to one of the files since they were opened.
  void check_unchanged() const;

 private:
  struct Tensor {
    const WeightFile* file;
    SafetensorsEntry entry;
    bool used = false;
    Parameter parameter;  // filled by the first find()
  };

  void add(const WeightFile& file, const std::string& name, SafetensorsEntry entry);

  std::deque<WeightFile> files_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace cones
