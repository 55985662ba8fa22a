// The safetensors format: 8 bytes header length (little-endian), a JSON header, the tensors' bytes.
// https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/mapped_file.h"

namespace cones {

struct SafetensorsEntry {
  std::string dtype;                 // as in the file: "F32", "F16", "BF16", "I64", …
  std::vector<std::uint64_t> shape;  // empty for a scalar
  std::span<const std::byte> bytes;  // not necessarily aligned
};

using SafetensorsEntries = std::map<std::string, SafetensorsEntry>;

/// The tensors of a file's bytes, which must outlive the result; `source` names the file in messages.
/// Everything is checked first (CONES_SAFETENSORS_INVALID): the header's length (≤ 100 MB and inside the file), strict
/// JSON, no name twice, sizes equal to shape × dtype, and that the tensors fill the data exactly, without overlaps or
/// holes, as the format demands. A tensor of unknown dtype is listed with whatever size it has.
SafetensorsEntries parse_safetensors(std::span<const std::byte> file, const std::string& source);

/// A memory-mapped file and its tensors.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path)
      : path_(path), file_(path), tensors_(parse_safetensors(file_.bytes(), path)) {}

  const std::string& path() const { return path_; }
  const SafetensorsEntries& tensors() const { return tensors_; }

 private:
  std::string path_;
  MappedFile file_;
  SafetensorsEntries tensors_;
};

}  // namespace cones
