// A file of weights, read piece by piece and never mapped into memory.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace cones {

/// Weights are read for as long as a model lives (packed at load; embeddings, K-V weights and backward's matrices when a
/// job needs them), and meanwhile anybody may write to their files. A mapping of a file that is shortened, or whose disk
/// fails, ends the process with SIGBUS; a read is an error. The file stays open: one that is renamed over or deleted is
/// still read as it was.
class WeightFile {
 public:
  /// CONES_MODEL_NOT_FOUND when there is no such file, CONES_IO when it cannot be read.
  explicit WeightFile(std::string path);
  ~WeightFile();
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  const std::string& path() const { return path_; }
  /// In bytes, when it was opened.
  std::uint64_t size() const { return static_cast<std::uint64_t>(opened_.st_size); }

  /// Fills `out` with the bytes from `offset` on; from any thread. CONES_MODEL_CHANGED when the file is no longer the one
  /// that was opened: asked after the bytes are here, so what was returned is of the file as it was, unless somebody
  /// changes it without changing its size or, to the resolution of the file system's clock, its times.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// CONES_MODEL_CHANGED unless size and times are what they were when the file was opened. The time of the last change of
  /// status, which nobody can set back, counts where nothing else explains it: a new name, mode or owner.
  void check_unchanged() const;

 private:
  std::string path_;
  int descriptor_ = -1;
  struct stat opened_ {};
};

}  // namespace cones
