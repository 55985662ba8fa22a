// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace cones {

/// The size is fixed when the file is opened. A file that somebody shortens while it is mapped still raises SIGBUS where
/// its lost pages are read: the operating system offers no other answer, so model files must not be changed while in use
/// (replacing one by rename is safe, the mapping keeps the old file).
class MappedFile {
 public:
  /// CONES_MODEL_NOT_FOUND when there is no such file, CONES_IO when it cannot be read.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace cones
