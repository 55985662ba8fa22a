// One side of duel.cc: a case of gemm_bench.cc behind two C functions. Build it once against each core:
//
//   g++ -O2 -std=c++20 -shared -fPIC -I CSRC bench/cpp/duel_side.cc LIBCONES_CORE -lpthread -o new.so
#define main unused_main
#include "gemm_bench.cc"
#undef main

#define CONES_EXPORT extern "C" __attribute__((visibility("default")))

/// What run_once takes; null when the sizes make no case.
CONES_EXPORT void* prepare(int threads, const char* kind, const index_t* sizes, int count) {
  const auto* context = new Context(make_context(threads));  // lives as long as the process
  std::function<void()> work = make_case(*context, kind, Sizes(sizes, sizes + count));
  return work ? new std::function<void()>(std::move(work)) : nullptr;
}

CONES_EXPORT void run_once(void* work) { (*static_cast<std::function<void()>*>(work))(); }
