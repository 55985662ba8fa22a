#include "jobs/place.h"

#include "cpu/backend.h"

namespace cones::jobs {

Placement place_on_cpu(int threads) {
  const auto backend = cpu_backend(threads);
  return {std::shared_ptr<Device>(&host_device(), [](Device*) {}), backend, backend, threads};
}

}  // namespace cones::jobs
