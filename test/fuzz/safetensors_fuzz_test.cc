// Mutated safetensors files: whatever the bytes, the parser answers with entries that lie inside the file and agree with
// their own shapes, or with cones::Error; nothing else. Seeded, so a failure repeats; run it under sanitizers too.
#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/safetensors.h"

using namespace cones;

namespace {

constexpr int kMutations = 40000;

void set_length(std::string& file, std::uint64_t length) {
  for (std::size_t i = 0; i < 8 && i < file.size(); ++i) file[i] = static_cast<char>(length >> (8 * i));
}

std::string valid_file() {
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("conv_in.weight":{"dtype":"F32","shape":[2,3,1,1],"data_offsets":[0,24]},)"
                       R"("caf\u00e9":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]},)"
                       R"("position_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[34,50]},)"
                       R"("scalar":{"dtype":"F16","shape":[],"data_offsets":[50,52]}}   )";
  std::string file(8, '\0');
  set_length(file, header.size());
  file += header;
  for (int i = 0; i < 52; ++i) file.push_back(static_cast<char>(i));
  return file;
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  /// One to four random edits; the length field is mostly made to fit again, so that the edits reach the parser.
  std::string mutate(std::string file) {
    const std::string original = file;
    for (int edits = below(4) + 1; edits > 0; --edits) edit(file);
    if (below(8) != 0) {
      const auto grown = static_cast<std::int64_t>(file.size()) - static_cast<std::int64_t>(original.size());
      const auto header = static_cast<std::int64_t>(original.size()) - 8 - 52;
      set_length(file, static_cast<std::uint64_t>(std::max<std::int64_t>(0, header + grown)));
    }
    return file;
  }

 private:
  int below(std::size_t n) { return static_cast<int>(random_() % n); }
  std::size_t place(const std::string& file) { return random_() % (file.size() + 1); }

  void edit(std::string& file) {
    static const char* const tokens[] = {"{",  "}",    "[",      "]",     ",",     ":",    "\"",       "\\u",  "0",
                                         "-1", "1e9",  "null",   "\xff",  "\\",    " ",    "\"dtype\"", "F64", "[0,0]",
                                         "4611686018427387906", "18446744073709551615", "99999999999999999999",
                                         "\"shape\":[4294967296,4294967296]", "\"data_offsets\":[52,0]", "\"__metadata__\":{}"};
    const std::size_t at = place(file);
    switch (below(7)) {
      case 0: if (at < file.size()) file[at] = static_cast<char>(random_()); break;
      case 1: if (at < file.size()) file[at] = static_cast<char>(file[at] ^ (1 << below(8))); break;
      case 2: file.insert(at, tokens[random_() % std::size(tokens)]); break;
      case 3: file.erase(at, random_() % 20); break;
      case 4: file.insert(at, file.substr(place(file), random_() % 80)); break;  // a piece twice
      case 5: replace_digit(file, at); break;                                    // another number
      default: file.resize(at); break;                                           // truncated
    }
  }

  void replace_digit(std::string& file, std::size_t at) {
    const std::size_t digit = file.find_first_of("0123456789", at);
    if (digit != std::string::npos) file[digit] = static_cast<char>('0' + below(10));
  }

  std::mt19937 random_;
};

const char* broken_invariant(const SafetensorsEntries& entries, std::size_t file) {
  std::uint64_t total = 0;
  for (const auto& [name, entry] : entries) {
    if (entry.offset < 8 || entry.offset > file || entry.size > file - entry.offset) return "a tensor outside the file";
    if (entry.dtype == "F32") {
      double elements = 1;  // no wrap-around in double
      for (const std::uint64_t dim : entry.shape) elements *= static_cast<double>(dim);
      if (elements * 4 != static_cast<double>(entry.size)) return "a size that disagrees with its shape";
    }
    total += entry.size;
  }
  return total > file ? "overlapping tensors" : nullptr;
}

}  // namespace

int main() {
  const std::string valid = valid_file();
  int accepted = 0, rejected = 0, wrong = 0;
  for (unsigned seed = 0; seed < kMutations; ++seed) {
    const std::string file = seed == 0 ? valid : Mutator(seed).mutate(valid);
    // On the heap and exactly as long as the file, so that a sanitizer sees every read past its end.
    const std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(file.data()),
                                       reinterpret_cast<const std::byte*>(file.data()) + file.size());
    const char* problem = nullptr;
    try {
      const SafetensorsEntries entries = parse_safetensors(read_memory(bytes.data()), bytes.size(), "mutated file");
      ++accepted;
      problem = broken_invariant(entries, bytes.size());
    } catch (const Error& e) {
      ++rejected;
      if (std::string(e.code()) != "CONES_SAFETENSORS_INVALID") problem = e.code();
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (problem != nullptr) {
      ++wrong;
      std::printf("FAIL mutation %u: %s\n", seed, problem);
    }
  }
  // A mutator that no longer produces anything valid, or nothing invalid, tests nothing.
  const bool lively = accepted > kMutations / 100 && rejected > kMutations / 2;
  std::printf("%d mutations: %d accepted, %d rejected, %d wrong%s\n", kMutations, accepted, rejected, wrong,
              lively ? "" : " (mutations are not lively)");
  return wrong == 0 && lively ? 0 : 1;
}
