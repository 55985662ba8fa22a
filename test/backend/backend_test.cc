// Every entry of a Backend against the CPU's. ctest runs it on the emulated CUDA library; on a machine with a card
//   backend_test --device cuda --precision fp16
// tests the card (CONES_CUDA_LIBRARY names cones_cuda.so), and with --time it prints the median microseconds of each case.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "case_table.h"
#include "cuda/backend.h"
#include "jobs/place.h"

using namespace cones;
using namespace cones::test;

namespace {

const char* const kUsage =
    "backend_test [--device cuda|cuda:N|cpu] [--precision fp16|bf16] [--seed N] [--time] [--verbose] [part of a case's name]\n";

Side side_of(const jobs::PlaceOptions& options) {
  const Placement placement = jobs::place(options);
  Side side{.device = placement.device, .backend = placement.backend, .launches = nullptr};
  if (const auto* cuda = dynamic_cast<const CudaDevice*>(placement.device.get())) side.launches = cuda->library().launches;
  return side;
}

}  // namespace

int main(int count, char** arguments) {
  jobs::PlaceOptions place{.device = "cuda"};
  Table::Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    const auto value = [&]() -> std::string { return i + 1 < count ? arguments[++i] : ""; };
    if (word == "--device") {
      place.device = value();
    } else if (word == "--precision") {
      place.precision = value() == "bf16" ? jobs::Precision::bf16 : jobs::Precision::fp16;
    } else if (word == "--seed") {
      options.seed = static_cast<unsigned>(std::atoi(value().c_str()));
    } else if (word == "--time") {
      options.time = true;
    } else if (word == "--verbose") {
      options.verbose = true;
    } else if (word.rfind("--", 0) == 0) {
      std::fputs(kUsage, stderr);
      return 2;
    } else {
      options.filter = word;
    }
  }
  Table table;
  for (const auto cases : {products_cases, conv2d_cases, attention_cases, norm_cases, elementwise_cases, row_cases, sampling_cases,
                           training_cases, search_cases})
    cases(table);
  try {
    return table.run(side_of(place), side_of({}), options) == 0 ? 0 : 1;
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
