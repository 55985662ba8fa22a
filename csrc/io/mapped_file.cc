#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <system_error>

#include "base/error.h"

namespace cones {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail_errno(const std::string& path, int error) {
  const bool absent = error == ENOENT || error == ENOTDIR;
  fail(absent ? "CONES_MODEL_NOT_FOUND" : "CONES_IO",
       "Cannot read " + path + ": " + std::generic_category().message(error) + ". " +
           (absent ? "Check the path of the model folder." : "Check the file and its permissions."));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer. Regular files do not notice it.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail_errno(path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(path, errno);
  if (!S_ISREG(status.st_mode)) fail("CONES_IO", path + " is not a file. Give the path of a safetensors file.");
  if (status.st_size == 0) return;  // nothing can be mapped; the empty span is an invalid file to every reader
  if (static_cast<std::uintmax_t>(status.st_size) > std::numeric_limits<std::size_t>::max()) fail_errno(path, EFBIG);
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) fail_errno(path, errno);
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace cones
