// Goldens on a card in 16 bits: the emulated card (test/emulator), or a real one where CONES_CUDA_LIBRARY names cones_cuda.so.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden.h"
#include "jobs/place.h"
#include "model/model.h"

namespace cones::test {

constexpr jobs::Precision kHalves[] = {jobs::Precision::fp16, jobs::Precision::bf16};

/// The tests that take minutes run only where CONES_TEST_ALL is set (npm run check:all).
bool test_all();

/// On a card, activations in 16 bits. `options`: files and configs.
std::shared_ptr<const Model> on_card(ModelOptions options, jobs::Precision precision);

/// A folder of references, and how far from them PyTorch is in 16 bits.
class HalfGolden {
 public:
  HalfGolden(const std::string& name, jobs::Precision precision);
  /// Prints our largest error as a share of PyTorch's, and of which tensor it is.
  ~HalfGolden();
  HalfGolden(const HalfGolden&) = delete;
  HalfGolden& operator=(const HalfGolden&) = delete;

  const Golden& golden() const { return golden_; }
  const Golden* operator->() const { return &golden_; }

  enum class Error { largest, mean };
  /// Reports unless our error is at most 2 × PyTorch's in the same type (errors.json) + 2⁻²⁴ max |want|, the rounding of the
  /// reference to fp32.
  void expect(const char* file, int line, const std::string& tensor, const std::vector<float>& got, Error error = Error::largest);
  /// `got`: the share of the weights that fp64 chooses and we choose too. Reports unless our share of others is at most `times`
  /// PyTorch's.
  void expect_agreement(const char* file, int line, const std::string& entry, double got, double times) const;

 private:
  Golden golden_;
  std::string suffix_;  // of fields in errors.json
  double highest_share_ = 0;
  std::string of_;
};

#define EXPECT_HALF(golden, ...) (golden).expect(__FILE__, __LINE__, __VA_ARGS__)

}  // namespace cones::test
