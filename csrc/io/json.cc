#include "io/json.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace cones {
namespace {

void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | (point >> 6));
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3f));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

bool is_surrogate(std::uint32_t point) { return point >= 0xd800 && point <= 0xdfff; }

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  std::size_t length = std::min(text.size(), kLongest);
  // Not in the middle of a character.
  while (length < text.size() && length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  std::string out = "\"";
  for (const char c : text.substr(0, length)) out.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
  return out + (length < text.size() ? "…\"" : "\"");
}

void JsonReader::fail(const std::string& what) const {
  cones::fail(code_, source_ + ": " + what + " (byte " + std::to_string(at_) + " of the JSON header). " +
                         "Download or export the file again.");
}

void JsonReader::skip_space() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
}

char JsonReader::take() {
  if (at_ >= text_.size()) fail("the JSON ends too early");
  return text_[at_++];
}

void JsonReader::expect(char c) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != c) fail(std::string("'") + c + "' expected");
  ++at_;
}

bool JsonReader::more(bool& first, char closing) {
  skip_space();
  if (at_ < text_.size() && text_[at_] == closing) {
    ++at_;
    return false;
  }
  if (!first) expect(',');
  first = false;
  return true;
}

std::string JsonReader::key(std::size_t longest) {
  std::string name = string(longest);
  expect(':');
  return name;
}

std::string JsonReader::string(std::size_t longest) {
  expect('"');
  std::string out;
  for (char c = take(); c != '"'; c = take()) {
    if (out.size() >= longest) fail("a name of more than " + std::to_string(longest) + " bytes");
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) fail("a control character in a string");
    if (c == '\\')
      append_escape(out);
    else if (byte < 0x80)
      out.push_back(c);
    else
      append_multibyte(out, byte);
  }
  return out;
}

std::uint32_t JsonReader::hex4() {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = take();
    if (c >= '0' && c <= '9')
      value = value * 16 + static_cast<std::uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value * 16 + static_cast<std::uint32_t>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      value = value * 16 + static_cast<std::uint32_t>(c - 'A' + 10);
    else
      fail("four hexadecimal digits expected");
  }
  return value;
}

void JsonReader::append_escape(std::string& out) {
  switch (take()) {
    case '"': out.push_back('"'); return;
    case '\\': out.push_back('\\'); return;
    case '/': out.push_back('/'); return;
    case 'b': out.push_back('\b'); return;
    case 'f': out.push_back('\f'); return;
    case 'n': out.push_back('\n'); return;
    case 'r': out.push_back('\r'); return;
    case 't': out.push_back('\t'); return;
    case 'u': break;
    default: fail("an unknown escape in a string");
  }
  std::uint32_t point = hex4();
  if (point >= 0xd800 && point < 0xdc00) {  // the first half of a pair
    if (take() != '\\' || take() != 'u') fail("half a surrogate pair in a string");
    const std::uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair in a string");
    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
  } else if (is_surrogate(point)) {
    fail("half a surrogate pair in a string");
  }
  append_utf8(out, point);
}

void JsonReader::append_multibyte(std::string& out, unsigned char lead) {
  const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (lead < 0xc2 || lead > 0xf4) fail("a string that is not UTF-8");
  std::uint32_t point = lead & (0x3fu >> more);
  for (int i = 0; i < more; ++i) {
    const auto byte = static_cast<unsigned char>(take());
    if ((byte & 0xc0) != 0x80) fail("a string that is not UTF-8");
    point = (point << 6) | (byte & 0x3fu);
  }
  const bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
  if (overlong || is_surrogate(point) || point > 0x10ffff) fail("a string that is not UTF-8");
  append_utf8(out, point);
}

std::uint64_t JsonReader::unsigned_integer() {
  skip_space();
  const std::size_t begin = at_;
  std::uint64_t value = 0;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
    const auto digit = static_cast<std::uint64_t>(text_[at_] - '0');
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) fail("a number over 64 bits");
    value = value * 10 + digit;
    ++at_;
  }
  if (at_ == begin) fail("an unsigned integer expected");
  if (text_[begin] == '0' && at_ - begin > 1) fail("a number with a leading zero");
  return value;  // a fraction or exponent fails at the next call: it is not what comes next
}

void JsonReader::end() {
  skip_space();
  if (at_ != text_.size()) fail("something after the end of the JSON");
}

}  // namespace cones
