// The emulator itself: what it must show of a kernel that relies on what the hardware does not promise.
#include <cmath>
#include <vector>

#include "product_check.h"

namespace {

using namespace cones::cuda;

KERNEL void arrivals_kernel(int* arrived, int* order) {
  if (dev::thread() == 0) order[dev::atomic_add(arrived, 1)] = (dev::block_z() * dev::grid_y() + dev::block_y()) * dev::grid_x() + dev::block_x();
}

/// Takes for granted that the block before it is done.
KERNEL void chain_kernel(float* values) {
  if (dev::thread() == 0) values[dev::block_x()] = dev::block_x() == 0 ? 1.0f : values[dev::block_x() - 1] + 1;
}

KERNEL void no_barrier_kernel(float* result) {
  float* const shared = reinterpret_cast<float*>(dev::shared());
  shared[dev::thread()] = 1;
  result[dev::thread()] = shared[(dev::thread() + 32) % dev::threads()];
}

void blocks_come_in_both_orders() {
  check::now = "blocks";
  std::vector<std::vector<int>> seen;
  check::each_order([&] {
    int arrived = 0;
    std::vector<int> order(2 * 3 * 4);
    launch(nullptr, arrivals_kernel, {2, 3, 4}, 32, 0, &arrived, order.data());
    seen.push_back(order);
  });
  std::vector<int> up(24), down(24);
  for (int i = 0; i < 24; ++i) up[static_cast<std::size_t>(i)] = i, down[static_cast<std::size_t>(i)] = 23 - i;
  check::expect(std::ranges::find(seen, up) != seen.end(), "never ascend");
  check::expect(std::ranges::find(seen, down) != seen.end(), "never descend");
}

template <class F>
bool some_order_shows_nan(const F& start, std::size_t n) {
  bool shown = false;
  check::each_order([&] {
    std::vector<float> values(n, NAN);
    start(values.data());
    for (const float v : values) shown = shown || std::isnan(v);
  });
  return shown;
}

}  // namespace

int main() {
  blocks_come_in_both_orders();
  check::now = "a kernel that is wrong";
  check::expect(some_order_shows_nan([](float* v) { launch(nullptr, chain_kernel, {4}, 32, 0, v); }, 4),
                "relies on the order of blocks, and nothing shows it");
  check::expect(some_order_shows_nan([](float* v) { launch(nullptr, no_barrier_kernel, {1}, 64, 64 * sizeof(float), v); }, 64),
                "lacks a barrier, and nothing shows it");
  return check::done();
}
