#include "jobs/job_queue.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <iterator>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include "base/denormals.h"
#include "base/error.h"

namespace cones::jobs {
namespace {

const Failure kAborted{"CONES_ABORTED", "The job was aborted."};

/// Of the exception that is being handled.
Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"CONES_OUT_OF_MEMORY", "The operating system refused more memory. Use a smaller batch or picture, or free memory."};
  } catch (const std::exception& error) {
    return {"CONES_INTERNAL", error.what()};
  }
}

bool is_search(const Job& job) { return job.share > 0; }

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

JobQueue::JobQueue(Options options) : options_(std::move(options)), thread_([this] { run(); }) {}

void JobQueue::add(Job job) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::make_shared<Entry>(Entry{.job = std::move(job), .number = ++added_}));
  }
  wake_.notify_one();
}

void JobQueue::end_aborted() {
  std::vector<std::function<void(const std::optional<Failure>&)>> ended;
  {
    std::lock_guard lock(mutex_);
    for (std::list<EntryRef>* list : {&waiting_, &begun_})
      for (auto at = list->begin(); at != list->end();) {
        const auto next = std::next(at);
        if ((*at)->job.aborted->load()) {
          ended.push_back(std::exchange((*at)->job.ended, nullptr));
          dropped_.splice(dropped_.end(), *list, at);
        }
        at = next;
      }
    if (running_ && running_->job.aborted->load() && running_->job.ended && running_->job.unstoppable && *running_->job.unstoppable)
      ended.push_back(std::exchange(running_->job.ended, nullptr));
  }
  wake_.notify_one();
  for (const auto& tell : ended) tell(kAborted);
}

void JobQueue::abort_all() {
  {
    std::lock_guard lock(mutex_);
    set_flags();
  }
  end_aborted();
}

// Call with the mutex held.
void JobQueue::set_flags() {
  for (const auto* list : {&waiting_, &begun_})
    for (const EntryRef& entry : *list) entry->job.aborted->store(true);
  if (running_) running_->job.aborted->store(true);
}

void JobQueue::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    set_flags();
  }
  wake_.notify_one();
  thread_.join();
  for (auto* list : {&waiting_, &begun_, &dropped_}) list->clear();
}

// All below: on the queue's thread, with the mutex held but for the steps themselves.

void JobQueue::run() {
  const FlushDenormals flush;
  Lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty() || !begun_.empty() || !dropped_.empty(); });
    end_ready(lock);
    // As many as wait now, and no more: who has begun must get on, too.
    for (std::size_t n = waiting_.size(); n > 0 && !stopping_ && begin_one(lock, false); --n) {}
    tell_places(lock);
    ++round_;
    while (!stopping_ && take_turn(lock)) {}
    if (!stopping_) step_of_search(lock);
    if (stopping_) return;
  }
}

/// Ends those who have nothing more to do: finished with somebody else's step, or aborted.
void JobQueue::end_ready(Lock& lock) {
  for (;;) {
    if (!dropped_.empty()) {
      std::list<EntryRef> dropped;
      dropped.swap(dropped_);
      lock.unlock();
      dropped.clear();
      lock.lock();
    }
    if (stopping_) return;
    const auto at = std::ranges::find_if(begun_, [](const EntryRef& entry) {
      return entry->job.aborted->load() || (entry->job.ready && entry->job.ready());
    });
    if (at == begun_.end()) return;
    const EntryRef entry = *at;
    begun_.erase(at);
    if (take_step(lock, entry, false) == Outcome::unfinished) {
      begun_.push_back(entry);
      return;
    }
  }
}

/// Begins the first job that may, of searches alone or of all. False when there is none, or when it has to wait until others have
/// ended: then nobody overtakes it.
bool JobQueue::begin_one(Lock& lock, bool searches) {
  const auto may_begin = [&](const EntryRef& entry) {
    if (entry->refused) return true;
    // In its place, like all jobs, unless the others have time to come.
    if (searches ? !is_search(entry->job) : is_search(entry->job) && owed_ > 0) return false;
    const void* series = entry->job.series;
    return series == nullptr || std::ranges::none_of(begun_, [&](const EntryRef& other) { return other->job.series == series; });
  };
  auto next = std::ranges::find_if(waiting_, [](const EntryRef& entry) { return entry->job.aborted->load(); });
  if (next == waiting_.end()) next = std::ranges::find_if(waiting_, may_begin);
  if (next == waiting_.end() || (searches && (*next)->refused)) return false;
  const EntryRef entry = *next;
  waiting_.erase(next);
  switch (take_step(lock, entry, !begun_.empty())) {
    case Outcome::ended: return true;
    case Outcome::unfinished:
      entry->used += least_used();  // it has no time to catch up on
      begun_.push_back(entry);
      return true;
    case Outcome::not_now:
      entry->refused = true;
      waiting_.insert(std::ranges::find_if(waiting_, [&](const EntryRef& other) { return other->number > entry->number; }), entry);
      return false;
  }
  return false;
}

/// Of the searches that have begun.
double JobQueue::least_used() const {
  double least = std::numeric_limits<double>::infinity();
  for (const EntryRef& entry : begun_)
    if (is_search(entry->job)) least = std::min(least, entry->used);
  return std::isfinite(least) ? least : 0;
}

/// A step of whoever has begun, is no search and has had no turn in this round. False when there is nobody.
bool JobQueue::take_turn(Lock& lock) {
  const auto at = std::ranges::find_if(begun_, [this](const EntryRef& entry) { return !is_search(entry->job) && entry->round != round_; });
  if (at == begun_.end()) return false;
  const EntryRef entry = *at;
  begun_.erase(at);
  entry->round = round_;
  if (entry->job.together != nullptr)
    for (const EntryRef& other : begun_)
      if (other->job.together == entry->job.together) other->round = round_;
  if (take_step(lock, entry, false) == Outcome::unfinished) begun_.push_back(entry);
  end_ready(lock);
  return true;
}

/// A step of a search, when it is a search's time: of one that has not begun, or of that which has had least.
void JobQueue::step_of_search(Lock& lock) {
  const auto searches = [this] {
    std::vector<EntryRef> found;
    std::ranges::copy_if(begun_, std::back_inserter(found), [](const EntryRef& entry) { return is_search(entry->job); });
    return found;
  };
  const bool waits = std::ranges::any_of(waiting_, [](const EntryRef& entry) { return is_search(entry->job); });
  if (!waits && searches().empty()) {
    owed_ = 0;
    return;
  }
  if (owed_ > 0 && others_expected(lock)) return;
  owed_ = std::min(owed_, 0.0);  // nobody else has anything to do
  if (stopping_ || begin_one(lock, true)) return;
  const std::vector<EntryRef> begun = searches();
  if (begun.empty()) return;
  const EntryRef entry = *std::ranges::min_element(begun, {}, &Entry::used);
  begun_.remove(entry);
  if (take_step(lock, entry, false) == Outcome::unfinished) begun_.push_back(entry);
}

/// Whether others have something to do, or will have in a moment.
bool JobQueue::others_expected(Lock& lock) {
  const auto other = [](const EntryRef& entry) { return !is_search(entry->job); };
  // Who was refused, and who is behind it, has nothing to do until others have ended: until searches have, it may be.
  const auto busy = [&] {
    if (std::ranges::any_of(begun_, other)) return true;
    if (std::ranges::any_of(waiting_, [](const EntryRef& entry) { return entry->refused; })) return false;
    return std::ranges::any_of(waiting_, [&](const EntryRef& entry) { return other(entry) && entry->job.series == nullptr; });
  };
  if (busy()) return true;
  if (!std::exchange(others_ended_, false)) return false;
  // Not wait_for, whose clock asks for glibc 2.30 (csrc/floor).
  return wake_.wait_until(lock, std::chrono::system_clock::now() + options_.patience, [&] { return stopping_ || busy(); });
}

/// Tells those who were refused, and those behind them, where they are.
void JobQueue::tell_places(Lock& lock) {
  std::size_t place = 0;
  bool refused = false;
  std::vector<std::pair<EntryRef, std::size_t>> news;
  for (const EntryRef& entry : waiting_) {
    refused = refused || entry->refused;
    if (!entry->job.waits) continue;
    ++place;
    if (refused && std::exchange(entry->place, place) != place) news.emplace_back(entry, place);
  }
  if (news.empty()) return;
  lock.unlock();
  for (const auto& [entry, now] : news) entry->job.waits(now);
  news.clear();
  lock.lock();
}

JobQueue::Outcome JobQueue::take_step(Lock& lock, const EntryRef& entry, bool may_wait) {
  Job& job = entry->job;
  running_ = entry;
  lock.unlock();
  const double begin = options_.clock();
  Outcome outcome = Outcome::ended;
  std::optional<Failure> failure;
  try {
    if (job.aborted->load()) fail("CONES_ABORTED", kAborted.message);
    if (!job.step(*job.aborted)) outcome = Outcome::unfinished;
  } catch (const NotNow&) {
    if (may_wait) outcome = Outcome::not_now;
    failure = current_failure();
  } catch (...) {
    failure = current_failure();
  }
  const double seconds = options_.clock() - begin;
  if (outcome == Outcome::ended) job.step = nullptr;  // what it held is free before anybody hears of its end, and before the next job looks for memory
  lock.lock();
  running_ = nullptr;
  account(*entry, seconds);
  if (outcome != Outcome::ended && !job.ended) {  // end_aborted() has told
    dropped_.push_back(entry);
    return Outcome::ended;
  }
  if (outcome == Outcome::ended) end(lock, entry, failure);
  return outcome;
}

void JobQueue::account(Entry& entry, double seconds) {
  const double share = entry.job.share;
  if (share > 0) {
    entry.used += seconds / share;
    owed_ += seconds * (1 - share) / share;
  } else {
    owed_ -= seconds;
  }
}

void JobQueue::end(Lock& lock, const EntryRef& entry, const std::optional<Failure>& failure) {
  if (!is_search(entry->job)) others_ended_ = true;
  const auto ended = std::exchange(entry->job.ended, nullptr);
  if (!ended) return;
  lock.unlock();
  ended(failure);
  lock.lock();
}

}  // namespace cones::jobs
