#include "half_golden.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "harness.h"
#include "watched_library.h"

namespace cones::test {

bool test_all() { return std::getenv("CONES_TEST_ALL") != nullptr; }

std::shared_ptr<const Model> on_card(ModelOptions options, jobs::Precision precision) {
  options.place = watched_place(precision);
  return std::make_shared<const Model>(options);
}

HalfGolden::HalfGolden(const std::string& name, jobs::Precision precision)
    : golden_(name), suffix_(precision == jobs::Precision::bf16 ? "Bf16" : "Fp16") {}

HalfGolden::~HalfGolden() {
  if (!of_.empty()) std::printf("     %s %s: at most %.2f of PyTorch's error (%s)\n", golden_.name().c_str(), suffix_.c_str(), highest_share_, of_.c_str());
}

void HalfGolden::expect(const char* file, int line, const std::string& tensor, const std::vector<float>& got, Error error) {
  const std::vector<float> want = golden_.floats(tensor);
  double largest = got.size() == want.size() ? 0 : INFINITY, sum = 0;
  for (std::size_t i = 0; i < want.size() && i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
    sum += difference;
  }
  const bool mean = error == Error::mean;
  const double found = mean && std::isfinite(largest) ? sum / static_cast<double>(want.size()) : largest;
  const double pytorch = golden_.error_entry(tensor, (mean ? "meanAbsError" : "maxAbsError") + suffix_);
  if (const double share = found / pytorch; !(share <= highest_share_)) {
    highest_share_ = share;
    of_ = tensor;
  }
  const double tolerance = 2 * pytorch + 0x1p-24 * golden_.error_entry(tensor, "maxAbsValue");
  if (!(found <= tolerance)) {
    char text[200];
    std::snprintf(text, sizeof text, ": error %.3g, PyTorch's %.3g, of values up to %.3g", found, pytorch,
                  golden_.error_entry(tensor, "maxAbsValue"));
    report(file, line, golden_.name() + " " + suffix_ + " " + tensor + text);
  }
}

void HalfGolden::expect_agreement(const char* file, int line, const std::string& entry, double got, double times) const {
  const double pytorch = golden_.error_entry(entry, "agreement" + suffix_);
  std::printf("     %s %s %s: %.4f in common, PyTorch %.4f\n", golden_.name().c_str(), suffix_.c_str(), entry.c_str(), got, pytorch);
  if (!(1 - got <= times * (1 - pytorch)))
    report(file, line, entry + " " + suffix_ + ": " + std::to_string(got) + " in common, PyTorch " + std::to_string(pytorch));
}

}  // namespace cones::test
