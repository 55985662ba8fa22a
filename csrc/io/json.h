// A strict pull parser for JSON of a known form (safetensors headers): the caller asks for what must come next.
//
// It builds no tree and never recurses, so hostile text costs no more memory or stack than its own length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cones {

/// `text` for a message: in quotes, without control characters, and no more of it than fits on a line.
std::string in_quotes(std::string_view text);

class JsonReader {
 public:
  /// `text` outlives the reader. Whatever is not as asked for throws Error{code, "<source>: …"}.
  JsonReader(std::string_view text, const char* code, std::string source)
      : text_(text), code_(code), source_(std::move(source)) {}

  void open_object() { expect('{'); }
  void open_array() { expect('['); }
  /// Whether another member or element follows, past its comma; if not, past the closing bracket.
  /// `first`: true before the first one, and cleared by this call.
  bool more_members(bool& first) { return more(first, '}'); }
  bool more_elements(bool& first) { return more(first, ']'); }
  /// A member's name, of at most `longest` bytes, and its colon.
  std::string key(std::size_t longest = SIZE_MAX);
  /// At most `longest` bytes.
  std::string string(std::size_t longest = SIZE_MAX);
  /// A number without sign, fraction or exponent that fits 64 bits.
  std::uint64_t unsigned_integer();
  /// Nothing but white space may be left.
  void end();

  [[noreturn]] void fail(const std::string& what) const;

 private:
  void skip_space();
  void expect(char c);
  bool more(bool& first, char closing);
  char take();
  std::uint32_t hex4();
  void append_escape(std::string& out);
  void append_multibyte(std::string& out, unsigned char lead);

  std::string_view text_;
  std::size_t at_ = 0;
  const char* code_;
  std::string source_;
};

}  // namespace cones
