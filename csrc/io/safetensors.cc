#include "io/safetensors.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "io/json.h"

namespace cones {
namespace {

constexpr const char* kInvalid = "CONES_SAFETENSORS_INVALID";
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kLengthBytes = 8;
// Longer than in any model. Without them a header of 100 MB would be copied several times, and make messages of that size.
constexpr std::size_t kLongestName = 1024;
constexpr std::size_t kMostDimensions = 64;

[[noreturn]] void invalid(const std::string& source, const std::string& what) {
  fail(kInvalid, source + " is not a valid safetensors file: " + what + ". Download or export it again.");
}

struct Record {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the data behind the header
};

std::vector<std::uint64_t> read_unsigned_array(JsonReader& json) {
  std::vector<std::uint64_t> values;
  json.open_array();
  for (bool first = true; json.more_elements(first);) {
    if (values.size() == kMostDimensions) json.fail("more than " + std::to_string(kMostDimensions) + " dimensions");
    values.push_back(json.unsigned_integer());
  }
  return values;
}

Record read_record(JsonReader& json, std::string name) {
  Record record;
  record.name = std::move(name);
  bool has_dtype = false, has_shape = false, has_offsets = false;
  const auto once = [&](bool& seen, const std::string& key) {
    if (seen) json.fail(in_quotes(record.name) + " has \"" + key + "\" twice");
    seen = true;
  };
  json.open_object();
  for (bool first = true; json.more_members(first);) {
    const std::string key = json.key(kLongestName);
    if (key == "dtype") {
      once(has_dtype, key);
      record.dtype = json.string(kLongestName);
    } else if (key == "shape") {
      once(has_shape, key);
      record.shape = read_unsigned_array(json);
    } else if (key == "data_offsets") {
      once(has_offsets, key);
      const std::vector<std::uint64_t> offsets = read_unsigned_array(json);
      if (offsets.size() != 2) json.fail(in_quotes(record.name) + " needs two data_offsets");
      record.begin = offsets[0];
      record.end = offsets[1];
    } else {
      json.fail(in_quotes(record.name) + " has the unknown member " + in_quotes(key));
    }
  }
  if (!has_dtype || !has_shape || !has_offsets)
    json.fail(in_quotes(record.name) + " needs dtype, shape and data_offsets");
  return record;
}

std::vector<Record> read_header(std::string_view text, const std::string& source) {
  JsonReader json(text, kInvalid, source);
  std::vector<Record> records;
  bool has_metadata = false;
  json.open_object();
  for (bool first = true; json.more_members(first);) {
    std::string name = json.key(kLongestName);
    if (name != "__metadata__") {
      records.push_back(read_record(json, std::move(name)));
      continue;
    }
    if (has_metadata) json.fail("\"__metadata__\" twice");
    has_metadata = true;
    json.open_object();
    for (bool first_text = true; json.more_members(first_text);) {
      json.key();
      json.string();
    }
  }
  json.end();
  return records;
}

void check_size(const Record& record, const std::string& source) {
  const std::optional<std::uint64_t> element = element_size(record.dtype);
  if (!element) return;
  std::uint64_t size = *element;
  for (const std::uint64_t dim : record.shape)
    if (__builtin_mul_overflow(size, dim, &size)) invalid(source, "the shape of " + in_quotes(record.name) + " overflows");
  if (size != record.end - record.begin)
    invalid(source, in_quotes(record.name) + " holds " + std::to_string(record.end - record.begin) +
                        " bytes where its shape and type need " + std::to_string(size));
}

}  // namespace

std::optional<std::uint64_t> element_size(std::string_view dtype) {
  struct Known {
    std::string_view name;
    std::uint64_t size;
  };
  static constexpr Known known[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                    {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
                                    {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  for (const Known& k : known)
    if (k.name == dtype) return k.size;
  return std::nullopt;
}

SafetensorsEntries parse_safetensors(const ReadBytes& read, std::uint64_t size, const std::string& source) {
  if (size < kLengthBytes) invalid(source, "it has only " + std::to_string(size) + " bytes");
  std::byte prefix[kLengthBytes];
  read(0, prefix);
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = (length << 8) | std::to_integer<std::uint64_t>(prefix[i]);
  if (length > kMaxHeader) invalid(source, "its header claims " + std::to_string(length) + " bytes, over 100 MB");
  if (length > size - kLengthBytes)
    invalid(source, "its header claims " + std::to_string(length) + " bytes, more than the file has");

  std::string header(length, '\0');
  read(kLengthBytes, std::as_writable_bytes(std::span(header)));
  if (header.empty() || header[0] != '{') invalid(source, "its header does not start with '{'");
  std::vector<Record> records = read_header(header, source);
  const std::uint64_t data_begin = kLengthBytes + length, data_size = size - data_begin;

  // In the order of the offsets each tensor must begin where the one before it ends: no overlaps, no holes.
  std::sort(records.begin(), records.end(),
            [](const Record& a, const Record& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t expected = 0;
  SafetensorsEntries entries;
  for (Record& record : records) {
    if (record.end < record.begin || record.end > data_size)
      invalid(source, in_quotes(record.name) + " lies outside the file (bytes " + std::to_string(record.begin) + " to " +
                          std::to_string(record.end) + " of " + std::to_string(data_size) + ")");
    if (record.begin != expected)
      invalid(source, in_quotes(record.name) + " begins at byte " + std::to_string(record.begin) + " instead of " +
                          std::to_string(expected) + ", which makes " +
                          (record.begin < expected ? "an overlap" : "a hole"));
    check_size(record, source);
    expected = record.end;
    SafetensorsEntry entry{std::move(record.dtype), std::move(record.shape),
                           data_begin + record.begin, record.end - record.begin};
    if (!entries.try_emplace(std::move(record.name), std::move(entry)).second)
      invalid(source, "it lists " + in_quotes(record.name) + " twice");
  }
  if (expected != data_size)
    invalid(source, "its tensors end at byte " + std::to_string(expected) + " of " + std::to_string(data_size));
  return entries;
}

SafetensorsEntries parse_safetensors(const WeightFile& file) {
  return parse_safetensors([&file](std::uint64_t offset, std::span<std::byte> out) { file.read(offset, out); }, file.size(), file.path());
}

ReadBytes bytes_of(const WeightFile& file, const SafetensorsEntry& entry) {
  return [&file, begin = entry.offset](std::uint64_t offset, std::span<std::byte> out) { file.read(begin + offset, out); };
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path), tensors_(parse_safetensors(file_)) {}

}  // namespace cones
