// In which order jobs of one model run, how they end, and what each of them is told.
#include "jobs/job_queue.h"

#include <algorithm>
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
    return add(name, work, Job{.series = series});
  }
  AbortFlag add(const std::string& name, const std::function<bool(int n)>& work, Job job) {
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

  /// `steps` steps that take `seconds` each; a search where `share` is given.
  AbortFlag add_timed(const std::string& name, int steps, double seconds, double share = 0, const void* together = nullptr) {
    return add(name, [this, steps, seconds](int n) {
      pass(seconds);
      return n == steps;
    }, Job{.share = share, .together = together});
  }
  void pass(double seconds) { now_ = now_ + seconds; }

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
  std::atomic<double> now_ = 0;  // seconds
  Log log_;

 public:
  JobQueue queue{{.clock = [this] { return now_.load(); }, .patience = {}}};  // last: its thread uses the others
};

std::size_t count(const Log& log, std::size_t from, std::size_t to, char name) {
  std::size_t found = 0;
  for (std::size_t i = from; i < to && i < log.size(); ++i) found += log[i][0] == name;
  return found;
}

std::size_t place(const Log& log, const std::string& entry) {
  return static_cast<std::size_t>(std::ranges::find(log, entry) - log.begin());
}

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
  bench.add("later", 1);
  Log log = bench.finish();  // who waits may hear of it first
  EXPECT(log.back() == "later1");
  std::ranges::sort(log);
  EXPECT(log == (Log{"later1", "seen", "waiting: CONES_ABORTED"}));
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

TEST("beside a search drawings have their part of the time, not of the turns") {
  for (const double share : {0.5, 1.0 / 3, 0.1}) {
    Bench bench;
    bench.add_timed("s", 400, 16, share);
    bench.add_timed("d", 800, 1);
    const Log log = bench.finish();
    // While both are there: what the search had is its share of all, but for one step.
    const std::size_t end = place(log, "d800");
    const double search = 16 * static_cast<double>(count(log, 0, end, 's'));
    EXPECT(std::abs(search - share * (search + 800)) <= 16);
    EXPECT(log.back() == "s400");
  }
}

TEST("a drawing of fifty steps takes at most twice its time alone, whenever it comes") {
  for (const int before : {1, 2, 5}) {
    Bench bench;
    double came = 0, went = 0;
    std::atomic<double> now = 0;
    bench.add("s", [&](int n) {
      if (n == before) bench.add("d", [&](int k) {
        if (k == 1) came = now;
        bench.pass(1);
        now = now + 1;
        went = now;
        return k == 50;
      });
      bench.pass(16);
      now = now + 16;
      return n == 100;
    }, Job{.share = 1.0 / 3});
    bench.finish();
    EXPECT(went - came + 16 <= 100);  // it had to wait for the end of the search's step at most
  }
}

TEST("two searches share what searches have, each by its own share") {
  Bench bench;
  bench.add_timed("a", 300, 10, 0.5);
  bench.add_timed("b", 300, 10, 0.25);
  bench.add_timed("d", 1200, 1);
  const Log log = bench.finish();
  const std::size_t end = place(log, "d1200");
  const auto a = count(log, 0, end, 'a'), b = count(log, 0, end, 'b');
  if (!(a + 2 >= 2 * b && a <= 2 * b + 2)) report(__FILE__, __LINE__, std::to_string(a) + " and " + std::to_string(b));
}

TEST("a search that has the engine to itself saves up no time, and owes none") {
  Bench bench;
  bench.add("s", [&](int n) {
    if (n == 100) bench.add_timed("d", 20, 1);
    bench.pass(10);
    return n == 110;
  }, Job{.share = 0.5});
  const Log log = bench.finish();
  const std::size_t first = place(log, "d1");
  EXPECT(log[first - 1] == "s100");
  EXPECT(count(log, first, place(log, "d20"), 's') == 1);
}

TEST("many short jobs of others do not keep a search from its share") {
  Bench bench;
  std::function<void(int)> chain = [&](int left) {
    bench.add("c", [&, left](int) {
      bench.pass(1);
      if (left > 1) chain(left - 1);
      return true;
    });
  };
  bench.add_timed("s", 12, 4, 0.5);
  chain(40);
  const Log log = bench.finish();
  EXPECT(count(log, 0, place(log, "s12"), 'c') <= 48);
}

TEST("jobs that take their steps together have one turn among them") {
  Bench bench;
  const int group = 0;
  bench.add_timed("a", 3, 1, 0, &group);
  bench.add_timed("b", 3, 1, 0, &group);
  bench.add_timed("c", 3, 1);
  EXPECT(bench.finish() == (Log{"a1", "b1", "c1", "a2", "c2", "b2", "c3", "a3", "b3"}));
}

TEST("who is finished by another's step ends before anybody takes one") {
  Bench bench;
  bool finished = false;
  bench.add("a", [&](int n) {
    finished = n == 2;
    return n == 4;
  });
  bench.add("b", 4);
  bench.add("r", [&](int) { return finished; }, Job{.ready = [&] { return finished; }});
  // r's turn would be the third of the round.
  EXPECT(bench.finish() == (Log{"a1", "b1", "r1", "a2", "r2", "b2", "a3", "b3", "a4", "b4"}));
}

TEST("who has to wait is told its place, and when that changes") {
  Bench bench;
  bool ended = false;
  std::vector<std::string> told;
  const auto waits = [&](const std::string& name) {
    return [&, name](std::size_t at) { told.push_back(name + std::to_string(at)); };
  };
  bench.add("a", [&](int n) { return ended = n == 3; });
  const auto later = [&](int) {
    if (!ended) throw NotNow("CONES_OUT_OF_MEMORY", "later");
    return true;
  };
  bench.add("b", later, Job{.waits = waits("b")});
  bench.add("c", [&](int) { return true; }, Job{.waits = waits("c")});
  AbortFlag gone = bench.add("g", [](int) { return true; }, Job{.waits = waits("g")});
  bench.add("d", [&](int) { return true; }, Job{.waits = waits("d")});
  bench.finish();
  EXPECT(told == (std::vector<std::string>{"b1", "c2", "g3", "d4"}));
}

TEST("who is aborted between two steps, or waits, ends at once though another's step goes on") {
  Bench bench;
  std::atomic<bool> running = false, released = false;
  AbortFlag begun = bench.add("a", 5), waiting;
  bench.add("long", [&](int) {
    running = true;
    while (!released) std::this_thread::yield();
    return true;
  });
  bench.release();
  while (!running) std::this_thread::yield();
  waiting = bench.add("w", 1);
  begun->store(true);
  waiting->store(true);
  bench.queue.end_aborted();
  bench.note("told");
  released = true;
  const Log log = bench.finish();
  EXPECT(place(log, "a: CONES_ABORTED") < place(log, "told"));
  EXPECT(place(log, "w: CONES_ABORTED") < place(log, "told"));
  EXPECT(place(log, "told") < place(log, "long1"));
}

TEST("a step that nothing stops is not waited for, and its job ends once") {
  Bench bench;
  std::atomic<bool> running = false, released = false;
  AbortFlag flag = bench.add("s", [&](int) {
    running = true;
    while (!released) std::this_thread::yield();
    return false;
  }, Job{.unstoppable = std::make_shared<std::atomic<bool>>(true)});
  bench.release();
  while (!running) std::this_thread::yield();
  flag->store(true);
  bench.queue.end_aborted();
  bench.note("told");
  bench.add("next", 1);
  released = true;
  EXPECT(bench.finish() == (Log{"s: CONES_ABORTED", "told", "s1", "next1"}));
}
