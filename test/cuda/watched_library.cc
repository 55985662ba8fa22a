#include "watched_library.h"

#include <string>

#include "cuda/backend.h"
#include "device/cuda_library.h"
#include "harness.h"

namespace cones::test {
namespace {

const cuda::Library* real = nullptr;

struct Watched {
  std::int64_t ops = 0;             // calls that ask for computation
  std::int64_t without_kernel = 0;  // of them those that started none
  std::int64_t downloads = 0;       // copies to the host
} seen, reported;

/// Every op of the library has this signature; nothing else has, but for the stream's own functions.
template <auto kMember, class Args>
int op(cuda::Stream* stream, const Args& args) {
  const std::int64_t before = real->launches();
  const int status = (real->*kMember)(stream, args);
  ++seen.ops;
  if (real->launches() == before) ++seen.without_kernel;
  return status;
}

template <auto kMember, class Args>
void watch(cuda::Library& library, int (*cuda::Library::*)(cuda::Stream*, const Args&)) {
  library.*kMember = &op<kMember, Args>;
}
template <auto kMember, class Other>
void watch(cuda::Library&, Other) {}  // devices, copies, sizes

int download(cuda::Stream* stream, void* to, const void* from, std::int64_t bytes) {
  ++seen.downloads;
  return real->download(stream, to, from, bytes);
}

const cuda::Library& library_of(const CudaSupport& support) {
  static cuda::Library library = [&] {
    real = support.library;
    cuda::Library copy = *real;
#define X(name) watch<&cuda::Library::name>(copy, &cuda::Library::name);
    CONES_CUDA_FUNCTIONS(X)
#undef X
    copy.download = &download;
    return copy;
  }();
  return library;
}

}  // namespace

Placement watched_place(jobs::Precision precision) {
  Placement placement = jobs::place({.device = "cuda", .precision = precision});
  const CudaSupport support = find_cuda();
  const int card = choose_card(support, -1);
  const cuda::Library& library = library_of(support);
  const auto device = CudaDevice::open(library, card, support.devices[static_cast<std::size_t>(card)].name);
  placement.device = device;
  placement.backend = std::make_shared<Cuda>(library, device, placement.backend->activation());
  placement.autoencoder = std::make_shared<Cuda>(library, device, placement.autoencoder->activation());
  reported = seen;
  return placement;
}

void expect_only_kernels(const char* file, int line, std::int64_t results) {
  const std::int64_t ops = seen.ops - reported.ops, without = seen.without_kernel - reported.without_kernel,
                     downloads = seen.downloads - reported.downloads;
  reported = seen;
  if (ops == 0) report(file, line, "nothing was asked of the card");
  if (without > 0) report(file, line, std::to_string(without) + " of " + std::to_string(ops) + " ops started no kernel");
  if (downloads != results)
    report(file, line, std::to_string(downloads) + " copies to the host, for " + std::to_string(results) + " results");
}

}  // namespace cones::test
