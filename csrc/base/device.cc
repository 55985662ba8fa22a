#include "base/device.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace cones {
namespace {

class Host final : public Device {
 public:
  bool host() const override { return true; }
  const char* name() const override { return "The operating system"; }

  // Large blocks come from the operating system itself and go back there: the heap's arenas, one per thread that ever allocated, would
  // keep them, and a server that loads and disposes would grow. They ask for huge pages: a page fault for 2 MiB instead of 4 KiB, and
  // fewer misses of the processor's address cache.
  void* allocate(std::size_t size) override {
#if defined(__linux__)
    if (size >= kLarge) return map(size);
#endif
    return std::aligned_alloc(64, size);
  }
  void release(void* block) override {
#if defined(__linux__)
    if (unmap(block)) return;
#endif
    std::free(block);
  }

  void upload(void* to, const void* from, std::size_t size) override { std::memcpy(to, from, size); }
  void download(void* to, const void* from, std::size_t size) override { std::memcpy(to, from, size); }
  void copy(void* to, const void* from, std::size_t size) override { std::memcpy(to, from, size); }
  void zero(void* block, std::size_t size) override { std::memset(block, 0, size); }
  void finish() override {}

#if defined(__linux__)
 private:
  static constexpr std::size_t kLarge = std::size_t{1} << 20, kHugePage = std::size_t{2} << 20;

  void* map(std::size_t size) {
    // Room to begin at a huge page; what is before and behind goes back at once.
    const std::size_t room = size >= kHugePage ? size + kHugePage : size;
    void* const mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    std::byte* block = static_cast<std::byte*>(mapped);
    if (size >= kHugePage) {
      const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(block) % kHugePage) % kHugePage;
      if (before > 0) munmap(block, before);
      block += before;
      if (const std::size_t used = whole_pages(size); used + before < room) munmap(block + used, room - before - used);
#if defined(MADV_HUGEPAGE)
      madvise(block, size / kHugePage * kHugePage, MADV_HUGEPAGE);  // a hint: failure changes nothing
#endif
    }
    std::lock_guard lock(mutex_);
    mapped_.emplace(block, size);
    return block;
  }

  bool unmap(void* block) {
    std::size_t size = 0;
    {
      std::lock_guard lock(mutex_);
      const auto found = mapped_.find(block);
      if (found == mapped_.end()) return false;
      size = found->second;
      mapped_.erase(found);
    }
    munmap(block, whole_pages(size));
    return true;
  }

  static std::size_t whole_pages(std::size_t size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return (size + page - 1) / page * page;
  }

  std::mutex mutex_;
  std::unordered_map<void*, std::size_t> mapped_;  // large blocks and their sizes
#endif
};

}  // namespace

Device& host_device() {
  static Host* const host = new Host;  // for ever: blocks may outlive whatever ends with the process
  return *host;
}

}  // namespace cones
