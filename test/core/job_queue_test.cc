// In which order jobs of one model run, how they end, and what each of them is told.
#include "jobs/job_queue.h"

#include <condition_variable>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "harness.h"

using namespace cones;
using namespace cones::test;
using jobs::AbortFlag;
using jobs::Failure;
using jobs::Job;
using jobs::JobQueue;

namespace {

using Log = std::vector<std::string>;

/// A queue that does nothing until release(), and what its jobs have done.
class Bench {
 public:
  Bench() {
    queue.add({.step = [this](const auto&) {
                 std::unique_lock lock(mutex_);
                 waits_ = true;
                 changed_.notify_all();
                 changed_.wait(lock, [this] { return released_; });
                 return true;
               },
               .ended = [](const auto&) {}});
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waits_; });
  }
  ~Bench() { release(); }

  /// `work(n)` is the n-th step, from 1. It logs "<name><n>", and what it failed with, "<name>: <code>".
  AbortFlag add(const std::string& name, const std::function<bool(int n)>& work, const void* series = nullptr) {
    Job job;
    job.series = series;
    job.step = [this, name, work, n = 0](const auto&) mutable {
      const bool done = work(++n);
      note(name + std::to_string(n));
      return done;
    };
    job.ended = [this, name](const std::optional<Failure>& failure) {
      if (failure) note(name + ": " + failure->code);
      std::lock_guard lock(mutex_);
      ++ended_;
      changed_.notify_all();
    };
    AbortFlag flag = job.aborted;
    {
      std::lock_guard lock(mutex_);
      ++added_;
    }
    queue.add(std::move(job));
    return flag;
  }
  AbortFlag add(const std::string& name, int steps, const void* series = nullptr) {
    return add(name, [steps](int n) { return n == steps; }, series);
  }

  void note(const std::string& entry) {
    std::lock_guard lock(mutex_);
    log_.push_back(entry);
  }
  void release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  /// Waits until all have ended.
  Log finish() {
    release();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ == added_; });
    return log_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool waits_ = false, released_ = false;
  int added_ = 0, ended_ = 0;
  Log log_;

 public:
  JobQueue queue;  // last: its thread uses the others
};

/// What the only step of a job that throws fails with.
template <class E>
Failure failure_of(const E& error) {
  std::mutex mutex;
  std::condition_variable told;
  std::optional<Failure> found;
  JobQueue queue;
  queue.add({.step = [&](const auto&) -> bool { throw error; },
             .ended = [&](const std::optional<Failure>& failure) {
               std::lock_guard lock(mutex);
               found = failure.value_or(Failure{"none", ""});
               told.notify_all();
             }});
  std::unique_lock lock(mutex);
  told.wait(lock, [&] { return found.has_value(); });
  return *found;
}

}  // namespace

TEST("jobs begin in the order of the calls") {
  Bench bench;
  for (const char* name : {"a", "b", "c"}) bench.add(name, 1);
  EXPECT(bench.finish() == (Log{"a1", "b1", "c1"}));
}

TEST("jobs of many steps take them in turn") {
  Bench bench;
  bench.add("a", 3);
  bench.add("b", 3);
  bench.add("c", 1);
  EXPECT(bench.finish() == (Log{"a1", "b1", "c1", "a2", "b2", "a3", "b3"}));
}

TEST("who comes meanwhile begins after one step of all who have begun") {
  Bench bench;
  bench.add("a", [&](int n) {
    if (n == 1) bench.add("late", 2);
    return n == 4;
  });
  bench.add("b", 2);
  EXPECT(bench.finish() == (Log{"a1", "b1", "a2", "b2", "late1", "a3", "late2", "a4"}));
}

TEST("however many come, who has begun gets on") {
  Bench bench;
  bench.add("a", 3);
  std::function<void(int)> chain = [&](int left) {
    bench.add("c", [&, left](int) {
      if (left > 1) chain(left - 1);
      return true;
    });
  };
  chain(4);
  EXPECT(bench.finish() == (Log{"a1", "c1", "a2", "c1", "a3", "c1", "c1"}));
}

TEST("jobs of one series keep their order and never overlap; others pass them") {
  Bench bench;
  const int series = 0;
  bench.add("s", 2, &series);
  bench.add("t", 2, &series);
  bench.add("u", 1, &series);
  bench.add("other", 1);
  EXPECT(bench.finish() == (Log{"s1", "other1", "s2", "t1", "t2", "u1"}));
}

TEST("who cannot begin now waits for the others' end, and nobody overtakes it") {
  Bench bench;
  bool ended = false;
  int tries = 0;
  bench.add("a", [&](int n) { return ended = n == 3; });
  bench.add("b", [&](int) {
    ++tries;
    if (!ended) throw NotNow("CONES_OUT_OF_MEMORY", "later");
    return true;
  });
  bench.add("c", 1);
  EXPECT(bench.finish() == (Log{"a1", "a2", "a3", "b3", "c1"}));
  EXPECT(tries == 3);
}

TEST("when nobody is under way, not now is never") {
  Bench bench;
  bench.add("a", [](int) -> bool { throw NotNow("CONES_OUT_OF_MEMORY", "never"); });
  bench.add("b", 1);
  EXPECT(bench.finish() == (Log{"a: CONES_OUT_OF_MEMORY", "b1"}));
}

TEST("who has begun cannot put off a step") {
  Bench bench;
  bench.add("a", 3);
  bench.add("b", [](int n) -> bool {
    if (n == 2) throw NotNow("CONES_OUT_OF_MEMORY", "too late");
    return false;
  });
  EXPECT(bench.finish() == (Log{"a1", "b1", "a2", "b: CONES_OUT_OF_MEMORY", "a3"}));
}

TEST("a waiting job that is aborted ends at once, without a step, before all others") {
  Bench bench;
  bench.add("a", 1);
  bench.add("b", 1)->store(true);
  EXPECT(bench.finish() == (Log{"b: CONES_ABORTED", "a1"}));
}

TEST("nor does it wait for one before it that cannot begin") {
  Bench bench;
  bool ended = false;
  AbortFlag last;
  bench.add("a", [&](int n) {
    if (n == 2) last->store(true);
    return ended = n == 3;
  });
  bench.add("b", [&](int) {
    if (!ended) throw NotNow("CONES_OUT_OF_MEMORY", "later");
    return true;
  });
  last = bench.add("c", 1);
  EXPECT(bench.finish() == (Log{"a1", "a2", "c: CONES_ABORTED", "a3", "b3"}));
}

TEST("a job that is aborted between its steps takes none more") {
  Bench bench;
  AbortFlag flag = bench.add("a", 3);
  bench.add("b", [&](int) {
    flag->store(true);
    return true;
  });
  EXPECT(bench.finish() == (Log{"a1", "b1", "a: CONES_ABORTED"}));
}

TEST("a running step sees that everything is aborted") {
  Bench bench;
  std::atomic<bool> running = false;
  Job job;
  job.step = [&](const std::atomic<bool>& aborted) {
    running = true;
    while (!aborted) std::this_thread::yield();
    bench.note("seen");
    return true;
  };
  job.ended = [](const auto&) {};
  bench.queue.add(std::move(job));
  bench.release();
  while (!running) std::this_thread::yield();
  bench.add("waiting", 1);
  bench.queue.abort_all();
  EXPECT(bench.finish() == (Log{"seen", "waiting: CONES_ABORTED"}));
  bench.add("later", 1);
  EXPECT(bench.finish().back() == "later1");
}

TEST("every exception has a code and says what happened") {
  const Failure own = failure_of(Error("CONES_TENSOR_SHAPE", "mine"));
  EXPECT(own.code == "CONES_TENSOR_SHAPE" && own.message == "mine");
  const Failure waited = failure_of(NotNow("CONES_OUT_OF_MEMORY", "too much"));
  EXPECT(waited.code == "CONES_OUT_OF_MEMORY" && waited.message == "too much");
  const Failure memory = failure_of(std::bad_alloc());
  EXPECT(memory.code == "CONES_OUT_OF_MEMORY");
  EXPECT(memory.message == "The operating system refused more memory. Use a smaller batch or picture, or free memory.");
  const Failure other = failure_of(std::runtime_error("a bug"));
  EXPECT(other.code == "CONES_INTERNAL" && other.message == "a bug");
}

TEST("what a job held is free when it tells of its end") {
  for (const bool fails : {false, true}) {
    Bench bench;
    auto held = std::make_shared<int>();
    const std::weak_ptr<int> watched = held;
    Job job;
    job.step = [held = std::move(held), fails](const auto&) {
      if (fails) fail("CONES_INTERNAL", "no");
      return true;
    };
    job.ended = [&](const auto&) { bench.note(watched.expired() ? "free" : "held"); };
    bench.queue.add(std::move(job));
    bench.add("next", 1);
    EXPECT(bench.finish() == (Log{"free", "next1"}));
  }
}

TEST("the end of a queue aborts the running job and drops the others without a word") {
  auto held = std::make_shared<int>();
  std::atomic<bool> running = false;
  std::atomic<int> begun_steps = 0, waiting_steps = 0, ended = 0;
  const auto count = [&](const auto&) { ++ended; };
  {
    JobQueue queue;
    queue.add({.step = [&, held](const auto&) { return ++begun_steps < 0; }, .ended = count});
    queue.add({.step = [&, held](const std::atomic<bool>& aborted) {
                 running = true;
                 while (!aborted) std::this_thread::yield();
                 return true;
               },
               .ended = count});
    while (!running) std::this_thread::yield();
    queue.add({.step = [&, held](const auto&) { return ++waiting_steps > 0; }, .ended = count});
  }
  EXPECT(ended == 1);  // the one that was running
  EXPECT(waiting_steps == 0);
  EXPECT(held.use_count() == 1);
}
