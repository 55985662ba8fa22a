// Two builds of the core in one process, in turns of 20 ms, so that changes of clock and other load weigh on both alike: tells
// a per cent or two apart where two programs, one after the other, need ten.
//
//   g++ -O2 -std=c++20 -Icsrc bench/cpp/duel.cc -ldl -o duel
//   duel THREADS SECONDS OLD.so NEW.so linear M K N        (each made of duel_side.cc; cases as of gemm_bench.cc)
//
// Prints the ratio of their times, old / new, median and range of the middle 80 %: of processor time on one thread, else of
// wall time.
#include <dlfcn.h>

#include "bench.h"

using namespace cones::bench;

namespace {

struct Side {
  void* work = nullptr;
  void (*run)(void*) = nullptr;

  Side(const char* file, int threads, const char* kind, const Sizes& sizes) {
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      return;
    }
    using Prepare = void* (*)(int, const char*, const cones::index_t*, int);
    run = reinterpret_cast<void (*)(void*)>(dlsym(library, "run_once"));
    work = reinterpret_cast<Prepare>(dlsym(library, "prepare"))(threads, kind, sizes.data(), static_cast<int>(sizes.size()));
  }

  double time(clockid_t clock, int repeats) const {
    const double start = seconds(clock);
    for (int i = 0; i < repeats; ++i) run(work);
    return (seconds(clock) - start) / repeats;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 9) return std::fprintf(stderr, "usage: see the head of this program's source\n"), 2;
  const int threads = std::atoi(argv[1]);
  Sizes sizes;
  for (int i = 6; i < argc; ++i) sizes.push_back(std::atoll(argv[i]));
  const Side sides[] = {{argv[3], threads, argv[5], sizes}, {argv[4], threads, argv[5], sizes}};
  if (!sides[0].work || !sides[1].work) return std::fprintf(stderr, "no such library, or no such case\n"), 2;
  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  for (const Side& side : sides) side.time(clock, 2);
  const int repeats = std::max(1, static_cast<int>(0.02 / sides[0].time(clock, 1)));

  std::vector<double> ratios;
  const double end = seconds(CLOCK_MONOTONIC) + std::atof(argv[2]);
  do {
    double times[2];
    const std::size_t first = ratios.size() % 2;
    for (const std::size_t i : {first, 1 - first}) times[i] = sides[i].time(clock, repeats);
    ratios.push_back(times[0] / times[1]);
  } while (seconds(CLOCK_MONOTONIC) < end);
  std::sort(ratios.begin(), ratios.end());
  const std::size_t n = ratios.size();
  std::printf("%.3f (%.3f-%.3f), %zu turns\n", ratios[n / 2], ratios[n / 10], ratios[n - 1 - n / 10], n);
  return 0;
}
