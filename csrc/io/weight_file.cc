#include "io/weight_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace cones {
namespace {

constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // some systems read less than 2 GiB in one call

[[noreturn]] void fail_errno(const std::string& path, int error) {
  const bool absent = error == ENOENT || error == ENOTDIR;
  fail(absent ? "CONES_MODEL_NOT_FOUND" : "CONES_IO",
       "Cannot read " + path + ": " + std::generic_category().message(error) + ". " +
           (absent ? "Check the path of the model folder." : "Check the file and its permissions."));
}

[[noreturn]] void fail_changed(const std::string& path) {
  fail("CONES_MODEL_CHANGED", path + " has changed since the model was loaded from it. Load the model again.");
}

timespec modification_time(const struct stat& status) {
#ifdef __APPLE__
  return status.st_mtimespec;
#else
  return status.st_mtim;
#endif
}

}  // namespace

WeightFile::WeightFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer. Regular files do not notice it.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_errno(path_, errno);
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail_errno(path_, errno);
    if (!S_ISREG(status.st_mode)) fail("CONES_IO", path_ + " is not a file. Give the path of a safetensors file.");
    size_ = static_cast<std::uint64_t>(status.st_size);
    modified_ = modification_time(status);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

WeightFile::~WeightFile() { ::close(descriptor_); }

void WeightFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), std::min(out.size(), kMostAtOnce), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(path_, errno);
    if (count == 0) fail_changed(path_);  // it has become shorter
    offset += static_cast<std::uint64_t>(count);
    out = out.subspan(static_cast<std::size_t>(count));
  }
  check_unchanged();
}

void WeightFile::check_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno(path_, errno);
  const timespec modified = modification_time(status);
  if (static_cast<std::uint64_t>(status.st_size) != size_ || modified.tv_sec != modified_.tv_sec ||
      modified.tv_nsec != modified_.tv_nsec)
    fail_changed(path_);
}

}  // namespace cones
