#include "base/memory.h"

#include <memory>
#include <vector>

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {
constexpr std::size_t kMiB = std::size_t{1} << 20;
}

TEST("a block is recycled for the next tensor of its size") {
  const auto memory = Memory::create(SIZE_MAX);
  void* const first = memory->allocate(3 * kMiB).get();
  EXPECT(memory->in_use() == 0);
  EXPECT(memory->held() == 3 * kMiB);
  EXPECT(memory->allocate(3 * kMiB).get() == first);
  EXPECT(memory->held() == 3 * kMiB);
}

TEST("many sizes, one after another, hold at most twice what was ever in use") {
  const auto memory = Memory::create(SIZE_MAX);
  const auto weights = memory->allocate(4 * kMiB);
  for (std::size_t size = 1; size <= 32; ++size) {
    memory->allocate(size * kMiB);
    EXPECT(memory->held() <= 2 * memory->peak());
  }
  memory->reset_peak();
  EXPECT(memory->held() > memory->in_use());  // the last ones are still there
}

TEST("recycled blocks never take the total beyond the limit") {
  const auto memory = Memory::create(64 * kMiB);
  memory->allocate(40 * kMiB);
  const auto other = memory->allocate(44 * kMiB);
  EXPECT(memory->held() == 44 * kMiB);
  EXPECT_ERROR("CONES_OUT_OF_MEMORY", memory->allocate(21 * kMiB));
  EXPECT(memory->held() == 44 * kMiB);
  memory->allocate(20 * kMiB);
  EXPECT(memory->held() == 64 * kMiB);
}

TEST("what is given away is on no account, and comes back to be recycled") {
  const auto memory = Memory::create(64 * kMiB);
  const auto own = memory->allocate(8 * kMiB);
  std::vector<std::shared_ptr<void>> given;
  for (int i = 0; i < 20; ++i) {  // more than the limit
    given.push_back(memory->allocate(8 * kMiB));
    Memory::give_away(given.back());
  }
  EXPECT(memory->in_use() == 8 * kMiB);
  EXPECT(memory->peak() == 16 * kMiB);
  void* const last = given.back().get();
  given.pop_back();
  EXPECT(memory->allocate(8 * kMiB).get() == last);
  given.clear();  // all at once, as garbage collection does it
  EXPECT(memory->in_use() == 8 * kMiB);
  EXPECT(memory->held() <= 2 * memory->peak());
}

TEST("planning holds nothing") {
  const auto memory = Memory::create_planning();
  EXPECT(memory->allocate(3 * kMiB) == nullptr);
  EXPECT(memory->peak() == 3 * kMiB);
}
