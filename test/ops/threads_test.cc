// The thread pool: every index once, errors, and many short rounds, which is where wake-ups and endings meet.
#include <atomic>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

#include "base/threads.h"
#include "harness.h"

using namespace cones;
using namespace cones::test;

TEST("threads: every index runs once, on a lane of the pool, round after round") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT(pool.threads() == threads);
    for (int round = 0; round < 2000; ++round) {
      const int count = round % 37;
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      std::atomic<bool> lanes_ok{true};
      pool.run(count, [&](std::int64_t i, int lane) {
        for (std::atomic<int> wait{0}; wait < round; ++wait) {}  // from too short to share to long enough
        ++seen[static_cast<std::size_t>(i)];
        if (lane < 0 || lane >= threads) lanes_ok = false;
      });
      // Whoever still ran here would write to memory that is gone.
      for (const auto& times : seen) EXPECT(times == 1);
      EXPECT(lanes_ok);
    }
  }
}

TEST("threads: workers that went to sleep join a later round") {
  ThreadPool pool(3);
  for (int round = 0; round < 100; ++round) {
    // From shorter than they look out to long enough for all of them to sleep.
    std::this_thread::sleep_for(std::chrono::microseconds(round % 10 * 50));
    std::atomic<int> inside{0};
    // Nobody leaves before all three have come.
    pool.run(3, [&](std::int64_t, int) {
      ++inside;
      while (inside < 3) std::this_thread::yield();
    });
    EXPECT(inside == 3);
  }
}

TEST("threads: the first exception reaches the caller, and the pool works on") {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> done{0};
    bool caught = false;
    try {
      pool.run(64, [&](std::int64_t i, int) {
        if (i == 5) throw std::runtime_error("five");
        ++done;
      });
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "five";
    }
    EXPECT(caught);
    EXPECT(done < 64);
  }
  std::atomic<int> done{0};
  pool.run(64, [&](std::int64_t, int) { ++done; });
  EXPECT(done == 64);
}

TEST("threads: denormals are zero in tasks, on every lane and with one thread, and come back for the caller") {
  volatile float tiny = 1e-30f, small = 1e-12f;  // their product is denormal
  EXPECT(tiny * small > 0.0f);
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::atomic<int> kept{0};
    pool.run(64, [&](std::int64_t, int) { kept += tiny * small != 0.0f; });
    EXPECT(kept == 0);
    EXPECT(tiny * small > 0.0f);
  }
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
TEST("threads: where the system refuses some, the others do all the work") {
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  rlimit before{};
  EXPECT(getrlimit(RLIMIT_AS, &before) == 0);
  // Room for a few threads' stacks.
  const rlimit little{pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{64} << 20), before.rlim_max};
  EXPECT(setrlimit(RLIMIT_AS, &little) == 0);
  ThreadPool pool(1000);
  EXPECT(setrlimit(RLIMIT_AS, &before) == 0);
  EXPECT(pool.threads() < 1000);
  std::vector<std::atomic<int>> seen(5000);
  pool.run(5000, [&](std::int64_t i, int lane) { seen[static_cast<std::size_t>(i)] += lane < pool.threads() ? 1 : 100; });
  for (const auto& times : seen) EXPECT(times == 1);
}
#endif

TEST("once it is aborted no more tasks begin: at most those that had") {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    std::atomic<bool> aborted = false;
    std::atomic<int> before = 0, after = 0;
    const auto task = [&](std::int64_t, int) {
      if (aborted) ++after;
      if (++before == 10) aborted = true;
    };
    EXPECT_ERROR("CONES_ABORTED", pool.run(1000, task, &aborted));
    EXPECT(before >= 10 && after < threads);
    before = after = 0;
    EXPECT_ERROR("CONES_ABORTED", pool.run(1000, task, &aborted));
    EXPECT_ERROR("CONES_ABORTED", pool.run(0, task, &aborted));
    EXPECT(before == 0);
    aborted = false;
    std::atomic<int> done = 0;
    pool.run(1000, [&](std::int64_t, int) { ++done; }, &aborted);  // usable again
    EXPECT(done == 1000);
  }
}
