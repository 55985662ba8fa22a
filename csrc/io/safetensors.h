// The safetensors format: 8 bytes header length (little-endian), a JSON header, the tensors' bytes.
// https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/parameter.h"
#include "io/weight_file.h"

namespace cones {

struct SafetensorsEntry {
  std::string dtype;                 // as in the file: "F32", "F16", "BF16", "I64", …
  std::vector<std::uint64_t> shape;  // empty for a scalar
  std::uint64_t offset = 0, size = 0;  // its bytes in the file
};

using SafetensorsEntries = std::map<std::string, SafetensorsEntry>;

/// Bytes of an element; nothing for dtypes that this version does not know.
std::optional<std::uint64_t> element_size(std::string_view dtype);

/// The tensors of a file of `size` bytes, of which only the header is read; `source` names the file in messages.
/// Everything is checked first (CONES_SAFETENSORS_INVALID): the header's length (≤ 100 MB and inside the file), strict
/// JSON, no name twice, sizes equal to shape × dtype, and that the tensors fill the data exactly, without overlaps or
/// holes, as the format demands. A tensor of unknown dtype is listed with whatever size it has.
SafetensorsEntries parse_safetensors(const ReadBytes& read, std::uint64_t size, const std::string& source);

/// The tensors of an open file.
SafetensorsEntries parse_safetensors(const WeightFile& file);
/// Reads a tensor of `file`, which must outlive the result.
ReadBytes bytes_of(const WeightFile& file, const SafetensorsEntry& entry);

/// An open file and its tensors.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const SafetensorsEntries& tensors() const { return tensors_; }
  /// Reads one of the tensors; this must outlive the result.
  ReadBytes bytes_of(const SafetensorsEntry& entry) const { return cones::bytes_of(file_, entry); }
  void check_unchanged() const { file_.check_unchanged(); }

 private:
  WeightFile file_;
  SafetensorsEntries tensors_;
};

}  // namespace cones
