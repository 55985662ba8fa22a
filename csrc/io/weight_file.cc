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

timespec change_time(const struct stat& status) {
#ifdef __APPLE__
  return status.st_ctimespec;
#else
  return status.st_ctim;
#endif
}

bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

WeightFile::WeightFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer. Regular files do not notice it.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_errno(path_, errno);
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail_errno(path_, errno);
    if (!S_ISREG(status.st_mode)) fail("CONES_IO", path_ + " is not a file. Give the path of a safetensors file.");
    opened_ = status;
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
  if (status.st_size != opened_.st_size || !same(modification_time(status), modification_time(opened_))) fail_changed(path_);
  if (same(change_time(status), change_time(opened_))) return;
  // Whoever writes can set the time of modification back (cp -p, tar, rsync -t), but not that of the last change. It also
  // changes with the owner, the mode and the names of a file, which do its bytes no harm.
  const bool renamed = [&] {
    struct stat there {};
    return status.st_nlink != opened_.st_nlink || ::stat(path_.c_str(), &there) != 0 || there.st_ino != status.st_ino ||
           there.st_dev != status.st_dev;
  }();
  const bool given_away =
      status.st_mode != opened_.st_mode || status.st_uid != opened_.st_uid || status.st_gid != opened_.st_gid;
  if (!renamed && !given_away) fail_changed(path_);
}

}  // namespace cones
