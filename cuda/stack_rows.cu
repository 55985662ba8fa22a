#include "stack_rows.h"

#include "units.cuh"
#include "values.cuh"

namespace cones::cuda {
namespace {

constexpr int kSources = 64;

/// first[i] … first[i + 1]: the units of y that source i fills.
struct Stack {
  void* y;
  const void* source[kSources];
  std::int64_t first[kSources + 1];
};

/// grid.x: units of the largest source, as far as it goes; grid.y: sources.
template <int kBytes>
KERNEL void LAUNCH_BOUNDS(kSweepThreads) stack_rows_kernel(const GRID_CONSTANT Stack s) {
  const int i = dev::block_y();
  const void* from = s.source[i];
  char* to = unit_at<kBytes>(s.y, s.first[i]);
  const std::int64_t size = s.first[i + 1] - s.first[i], step = std::int64_t{dev::grid_x()} * kSweepThreads;
  for (std::int64_t at = std::int64_t{dev::block_x()} * kSweepThreads + dev::thread(); at < size; at += step)
    copy_unit<kBytes>(unit_at<kBytes>(to, at), unit_at<kBytes>(from, at));
}

}  // namespace

int stack_rows(Stream* stream, const StackRowsArgs& args) {
  if (args.count <= 0 || args.count > kSources || (args.element_bytes != 2 && args.element_bytes != 4)) return kInvalid;
  std::uintptr_t bits = bits_of_address(args.y);
  for (int i = 0; i < args.count; ++i) bits |= bits_of_address(args.source[i]) | bits_of_size(args.size[i] * args.element_bytes);
  return with_unit(bits, [&](auto unit) {
    Stack stack{args.y, {}, {}};
    std::int64_t largest = 1;
    for (int i = 0; i < args.count; ++i) {
      const std::int64_t units = args.size[i] * args.element_bytes / unit.bytes;
      stack.source[i] = args.source[i];
      stack.first[i + 1] = stack.first[i] + units;
      if (units > largest) largest = units;
    }
    const std::int64_t blocks = divide_up(largest, kSweepThreads);
    return launch(stream, stack_rows_kernel<unit.bytes>, {blocks < 2048 ? blocks : 2048, args.count}, kSweepThreads, 0, stack);
  });
}

}  // namespace cones::cuda
