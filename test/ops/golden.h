// References that scripts/golden.py dumped from PyTorch, and how far from them a result may be.
#pragma once

#include <string>
#include <vector>

#include "device/context.h"
#include "io/safetensors.h"

namespace cones::test {

/// One folder of test/goldens/models. Tests run from the repository's root.
class Golden {
 public:
  explicit Golden(const std::string& name);

  /// Absolute or relative path of a file in the folder.
  std::string path(const std::string& file) const { return folder_ + file; }
  const std::string& name() const { return name_; }
  /// Of the file's tensors, sorted.
  std::vector<std::string> tensors() const;
  index_t dim(const std::string& tensor, std::size_t i) const;
  std::vector<float> floats(const std::string& tensor) const;
  std::vector<std::int32_t> ints(const std::string& tensor) const;
  /// A tensor [B, C, H, W] of the file as [B, H, W, C].
  Tensor channels_last(const Context& context, const std::string& tensor) const;

  /// Reports unless max |got - want| ≤ 2 × the largest error of PyTorch's own fp32 runs (errors.json) + 2⁻²⁴ max |want|,
  /// the rounding of the reference itself to fp32.
  void expect(const char* file, int line, const std::string& tensor, const std::vector<float>& got) const;

  /// A number of errors.json, such as "maxAbsErrorFp16" of a tensor.
  double error_entry(const std::string& tensor, const std::string& field) const;

 private:
  std::string name_, folder_, errors_;
  SafetensorsFile file_;
};

#define EXPECT_GOLDEN(golden, tensor, got) (golden).expect(__FILE__, __LINE__, tensor, got)

std::vector<float> values(const Tensor& tensor);
/// [B, H, W, C] → [B, C, H, W]
std::vector<float> channels_first(const Tensor& tensor);

}  // namespace cones::test
