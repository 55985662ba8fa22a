#include "base/memory.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace cones {

// Sizes are rounded up to 1/8 of their power of two, so that tensors of similar size share blocks and waste ≤ 12.5 %.
std::size_t Memory::block_size(std::size_t bytes) {
  std::size_t step = 64;
  while (step * 16 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

std::shared_ptr<Memory> Memory::create(std::size_t limit, Device& device) {
  return std::shared_ptr<Memory>(new Memory(limit, false, device));
}

std::shared_ptr<Memory> Memory::create_planning(Device& device) {
  return std::shared_ptr<Memory>(new Memory(SIZE_MAX, true, device));
}

Memory::~Memory() { trim(); }

std::shared_ptr<void> Memory::allocate(std::size_t bytes) {
  const std::size_t size = block_size(bytes == 0 ? 1 : bytes);
  void* block = nullptr;
  bool too_many = false;  // recycled blocks
  {
    std::lock_guard lock(mutex_);
    if (size > limit_ || in_use_ > limit_ - size) {
      fail("CONES_OUT_OF_MEMORY",
           "The job needs more than the memory limit of " + std::to_string(limit_ >> 20) + " MiB (" +
               std::to_string(in_use_ >> 20) + " MiB in use, " + std::to_string(size >> 20) +
               " MiB more wanted). Use a smaller batch or picture, enable checkpointing, or raise memoryLimit.");
    }
    if (!planning_) {
      if (auto it = free_.find(size); it != free_.end()) {
        block = it->second;
        free_.erase(it);
        recycled_ -= size;
      }
    }
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
    highest_ = std::max(highest_, in_use_);
    too_many = block == nullptr && recycled_ > most_recycled();
  }
  if (too_many) trim();
  auto self = shared_from_this();
  if (!planning_ && block == nullptr) {
    block = device_.allocate(size);
    if (block == nullptr) {  // recycled blocks of other sizes may be what is missing
      trim();
      block = device_.allocate(size);
    }
    if (block == nullptr) {
      std::lock_guard lock(mutex_);
      in_use_ -= size;
      fail("CONES_OUT_OF_MEMORY", std::string(device_.name()) + " refused " + std::to_string(size >> 20) +
                                      " MiB. Use a smaller batch or picture, or free memory.");
    }
  }
  return std::shared_ptr<void>(block, Release{self, size});
}

void Memory::give_away(const std::shared_ptr<void>& block) {
  Release* const release = std::get_deleter<Release>(block);
  check(release != nullptr && release->counted, "a block of a memory is given away once");
  std::lock_guard lock(release->memory->mutex_);
  release->counted = false;
  release->memory->in_use_ -= release->bytes;
}

void Memory::release(void* block, const Release& release) {
  {
    std::lock_guard lock(mutex_);
    if (release.counted) in_use_ -= release.bytes;
    if (block == nullptr) return;
    // There is always room for a block that was in use; of those that were given away garbage collection brings back any number.
    if (recycled_ + release.bytes <= most_recycled()) {
      free_.emplace(release.bytes, block);
      recycled_ += release.bytes;
      return;
    }
  }
  device_.release(block);
}

void Memory::trim() {
  std::multimap<std::size_t, void*> blocks;
  {
    std::lock_guard lock(mutex_);
    blocks.swap(free_);
    recycled_ = 0;
  }
  for (auto& [size, block] : blocks) device_.release(block);
}

void Memory::enlist(std::weak_ptr<Remakable> part) {
  std::lock_guard lock(remakable_mutex_);
  remakable_.push_back(std::move(part));
}

std::vector<std::shared_ptr<Remakable>> Memory::remakables() const {
  std::vector<std::shared_ptr<Remakable>> parts;
  std::lock_guard lock(remakable_mutex_);
  for (const auto& part : remakable_)
    if (auto there = part.lock()) parts.push_back(std::move(there));
  return parts;
}

std::size_t Memory::remakable() const {
  std::size_t bytes = 0;
  for (const auto& part : remakables()) bytes += part->bytes();
  return bytes;
}

void Memory::drop_remakable() {
  for (const auto& part : remakables()) part->drop();
}

std::size_t Memory::in_use() const {
  std::lock_guard lock(mutex_);
  return in_use_;
}

std::size_t Memory::peak() const {
  std::lock_guard lock(mutex_);
  return peak_;
}

std::size_t Memory::held() const {
  std::lock_guard lock(mutex_);
  return in_use_ + recycled_;
}

void Memory::reset_peak() {
  std::lock_guard lock(mutex_);
  peak_ = in_use_;
}

}  // namespace cones
