// Accounting allocator for tensors: recycles blocks, knows bytes in use and their peak, enforces a limit. Recycled blocks
// serve the next job of the same shape; they never take the total beyond the limit, nor beyond twice what was ever in use,
// however many shapes a server sees.
//
// In planning mode nothing is allocated: the same model code runs with null storage, ops return before computing, and
// `peak()` afterwards is the memory that the real run will need (so it is known before a job starts).
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/device.h"

namespace cones {

/// What was made of other data when it was first needed, is kept, and could be made again: weights packed for gradients.
class Remakable {
 public:
  virtual ~Remakable() = default;
  /// What it holds of a memory just now.
  virtual std::size_t bytes() const = 0;
  /// Lets go of it; whoever uses it just now keeps it as long.
  virtual void drop() = 0;
};

class Memory : public std::enable_shared_from_this<Memory> {
 public:
  /// `limit`: bytes that may be in use at once; more is CONES_OUT_OF_MEMORY. The device must outlive it.
  static std::shared_ptr<Memory> create(std::size_t limit, Device& device = host_device());
  static std::shared_ptr<Memory> create_planning(Device& device = host_device());
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// A 64-byte aligned, uninitialised block that returns itself when the last reference goes. Null when planning.
  std::shared_ptr<void> allocate(std::size_t bytes);
  /// Takes a block of allocate() off its memory's account: from now on it is JavaScript's, which lets go of it whenever it
  /// collects garbage. It still comes back to be recycled.
  static void give_away(const std::shared_ptr<void>& block);

  Device& device() const { return device_; }
  bool planning() const { return planning_; }
  std::size_t in_use() const;
  std::size_t peak() const;
  /// Bytes taken from the device: in use and recycled.
  std::size_t held() const;
  void reset_peak();
  /// Gives the recycled blocks back to the device.
  void trim();

  /// What the remakable things of this memory hold, of in_use(). They enlist themselves, and are forgotten when they go.
  std::size_t remakable() const;
  void enlist(std::weak_ptr<Remakable> part);
  void drop_remakable();
  /// What a block of so many bytes counts as.
  static std::size_t block_size(std::size_t bytes);

 private:
  Memory(std::size_t limit, bool planning, Device& device) : device_(device), limit_(limit), planning_(planning) {}
  /// What brings a block back.
  struct Release {
    std::shared_ptr<Memory> memory;
    std::size_t bytes;
    bool counted = true;  // in in_use_
    void operator()(void* block) const { memory->release(block, *this); }
  };
  void release(void* block, const Release& release);
  /// Bytes that recycled blocks may take. Call with the mutex held.
  std::size_t most_recycled() const { return std::min(limit_ - in_use_, 2 * highest_ - in_use_); }

  Device& device_;
  const std::size_t limit_;
  const bool planning_;
  mutable std::mutex mutex_;
  std::multimap<std::size_t, void*> free_;  // by rounded size
  std::size_t in_use_ = 0, peak_ = 0, recycled_ = 0;
  std::size_t highest_ = 0;  // like peak_, but never reset

  std::vector<std::shared_ptr<Remakable>> remakables() const;
  mutable std::mutex remakable_mutex_;
  std::vector<std::weak_ptr<Remakable>> remakable_;
};

}  // namespace cones
