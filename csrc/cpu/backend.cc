#include "cpu/backend.h"

#include <algorithm>

#include "cpu/kernels/kernels.h"

namespace cones {

std::shared_ptr<const Backend> cpu_backend(int threads) {
  return std::make_shared<Cpu>(std::make_shared<ThreadPool>(threads), best_kernels());
}

const char* cpu_isa() { return best_kernels()->isa; }

std::shared_ptr<const Backend> Cpu::planner() const { return std::shared_ptr<const Backend>(new Cpu(pool_, kernels_, true, nullptr)); }

std::shared_ptr<const Backend> Cpu::watching(const std::atomic<bool>* aborted) const {
  return std::shared_ptr<const Backend>(new Cpu(pool_, kernels_, planning_, aborted));
}

void Cpu::run(index_t count, const std::function<void(index_t, int)>& task) const {
  if (!planning_) pool_->run(count, task, aborted_);
}

void Cpu::parallel(index_t count, index_t grain, const std::function<void(index_t, index_t, int)>& f) const {
  if (count <= 0) return;
  // Four ranges per thread balance threads that other load on the machine slows down; long ops are cut for the sake of aborts.
  constexpr index_t kRanges = 64;
  const index_t wanted = std::max(kRanges, index_t{4} * threads());
  const index_t ranges = std::clamp<index_t>(count / std::max<index_t>(grain, 1), 1, wanted);
  run(ranges, [&](index_t i, int lane) { f(count * i / ranges, count * (i + 1) / ranges, lane); });
}

}  // namespace cones
