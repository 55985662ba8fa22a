// libFuzzer: bytes as the header of a safetensors file, and as JSON (npm run fuzz).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "io/json.h"
#include "io/safetensors.h"

using namespace cones;

namespace {

template <class F>
void refused_or_read(const F& f) {
  try {
    f();
  } catch (const Error&) {  // whatever else is thrown ends the run
  }
}

/// All that a header can have, in the order in which it comes.
void read_any(JsonReader& json, int depth) {
  bool first = true;
  json.open_object();
  while (json.more_members(first)) {
    json.key(64);
    if (depth > 0) {
      read_any(json, depth - 1);
    } else {
      bool first_element = true;
      json.open_array();
      while (json.more_elements(first_element)) json.unsigned_integer();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = [&](std::uint64_t offset, std::span<std::byte> out) {
    // The reader has to stay within the size that it was told.
    if (offset > size || out.size() > size - offset) __builtin_trap();
    std::memcpy(out.data(), data + offset, out.size());
  };
  refused_or_read([&] {
    for (const auto& [name, entry] : parse_safetensors(read, size, "fuzz"))
      if (entry.offset > size || entry.size > size - entry.offset) __builtin_trap();
  });
  // The same bytes as a header: libFuzzer need not find out how long it is.
  refused_or_read([&] {
    const std::uint64_t length = size, whole = size + 8;
    parse_safetensors(
        [&](std::uint64_t offset, std::span<std::byte> out) {
          for (std::byte& byte : out) {
            if (offset >= whole) __builtin_trap();
            byte = offset < 8 ? static_cast<std::byte>(length >> (8 * offset)) : static_cast<std::byte>(data[offset - 8]);
            ++offset;
          }
        },
        whole, "fuzz");
  });
  refused_or_read([&] {
    JsonReader json({reinterpret_cast<const char*>(data), size}, "CONES_SAFETENSORS_INVALID", "fuzz");
    read_any(json, 3);
    json.end();
  });
  return 0;
}
