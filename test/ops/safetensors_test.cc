// Reading safetensors: what is accepted, and that every lie gets its error.
#include "io/safetensors.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "harness.h"
#include "io/json.h"
#include "io/weights.h"

using namespace cones;

namespace {

constexpr const char* kInvalid = "CONES_SAFETENSORS_INVALID";

std::string file_of(const std::string& header, const std::string& data, std::uint64_t length) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i));
  return file + header + data;
}

std::string file_of(const std::string& header, const std::string& data) {
  return file_of(header, data, header.size());
}

SafetensorsEntries parse(const std::string& file) {
  return parse_safetensors(read_memory(file.data()), file.size(), "test file");
}

/// A header with one tensor "a" of these members.
std::string one(const std::string& members) { return "{\"a\":{" + members + "}}"; }

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, int begin, int end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

/// Message of the cones::Error that f throws.
template <typename F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Files in a folder of their own that goes when the test ends.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cones-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) fail("CONES_IO", "no temporary folder");
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST("a valid file is read") {
  const std::string data("\0\0\x80\x3f\0\x3c\x80\x3f\x01\x02", 10);
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"},\n " + tensor("f", "F32", "[1,1]", 0, 4) + " ,\t" +
                             tensor("h", "F16", "[]", 4, 6) + "," + tensor("b", "BF16", "[1]", 6, 8) + "," +
                             tensor("odd", "F4_E9", "[7]", 8, 10) + "," + tensor("empty", "I64", "[3,0]", 8, 8) + "}  ";
  const std::string file = file_of(header, data);
  const SafetensorsEntries entries = parse(file);
  const auto bytes_of = [&](const std::string& name) { return file.substr(entries.at(name).offset, entries.at(name).size); };
  EXPECT(entries.size() == 5);
  EXPECT(entries.at("f").dtype == "F32" && entries.at("f").shape == std::vector<std::uint64_t>({1, 1}));
  EXPECT(bytes_of("f") == data.substr(0, 4));
  EXPECT(entries.at("h").shape.empty() && bytes_of("h") == data.substr(4, 2));
  EXPECT(bytes_of("b") == data.substr(6, 2));
  EXPECT(bytes_of("odd") == data.substr(8, 2));
  EXPECT(bytes_of("empty").empty());
}

TEST("names are JSON strings") {
  const std::string data(4, '\0');
  const auto name_of = [&](const std::string& name) {
    const std::string file = file_of("{" + tensor(name, "U8", "[4]", 0, 4) + "}", data);
    return parse(file).begin()->first;
  };
  EXPECT(name_of(R"(\"\\\/\b\f\n\r\t)") == "\"\\/\b\f\n\r\t");
  EXPECT(name_of(R"(\u0041\u00e9\u20AC\ud83d\uDE00)") == "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT(name_of("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  for (const char* bad : {R"(\x)", R"(\u12)", R"(\ud83d)", R"(\ud83d\u0041)", R"(\ude00)", "\x01", "\xff", "\xc0\x80",
                          "\xed\xa0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xe2\x82"})
    EXPECT_ERROR(kInvalid, name_of(bad));
}

TEST("a header that lies about its length") {
  const std::string header = "{}";
  EXPECT_ERROR(kInvalid, parse(""));
  EXPECT_ERROR(kInvalid, parse(std::string(7, '\0')));
  EXPECT_ERROR(kInvalid, parse(file_of("", "")));
  EXPECT_ERROR(kInvalid, parse(file_of(header, "", 3)));
  EXPECT_ERROR(kInvalid, parse(file_of(header, "", 100'000'001)));
  EXPECT_ERROR(kInvalid, parse(file_of(header, "", ~std::uint64_t{0})));
  EXPECT_ERROR(kInvalid, parse(file_of(header, "", ~std::uint64_t{0} - 7)));
  EXPECT(parse(file_of(header, "")).empty());
}

TEST("a header that is not the JSON it must be") {
  const std::string data(4, '\0');
  const std::string good = "\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]";
  EXPECT(parse(file_of(one(good), data)).size() == 1);
  const std::string bad[] = {
      "[]", " {}", "{", "{\"a\"", "{\"a\":", "{,}", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}", "nonsense", "{}x", "{}{}",
      one(good + ","), one("," + good), one(good) + "0", "{\"a\":{" + good + "},}", one(good + ",\"dtype\":\"U8\""),
      one(good + ",\"shape\":[4]"), one(good + ",\"data_offsets\":[0,4]"), one(good + ",\"extra\":1"),
      one("\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"data_offsets\":[0,4]"), one("\"shape\":[4],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[4]"), one("\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[4,],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[04],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[4.0],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[4e0],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[18446744073709551620],\"data_offsets\":[0,4]"),
      one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]"),
      one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]"),
      "{\"__metadata__\":{\"a\":1}," + one(good).substr(1),
      "{\"__metadata__\":{},\"__metadata__\":{}," + one(good).substr(1),
      "{\"a\":{" + good + "},\"a\":{" + good + "}}",
      std::string(100000, '['), "{\"a\":" + std::string(100000, '['),
  };
  for (const std::string& header : bad) EXPECT_ERROR(kInvalid, parse(file_of(header, data)));
}

TEST("offsets and shapes that lie") {
  const std::string data(8, '\0');
  const auto parse_two = [&](const std::string& a, const std::string& b) {
    return parse(file_of("{" + a + "," + b + "}", data));
  };
  EXPECT(parse_two(tensor("a", "F32", "[1]", 4, 8), tensor("b", "F32", "[1]", 0, 4)).size() == 2);
  // Outside, backwards, overlapping, with a hole, short of the file's end, twice the same place.
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "F32", "[1]", 0, 4), tensor("b", "F32", "[2]", 4, 12)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "F32", "[2]", 0, 8), tensor("b", "F32", "[0]", 8, 4)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "F32", "[1]", 0, 4), tensor("b", "F16", "[3]", 2, 8)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "U8", "[3]", 0, 3), tensor("b", "F32", "[1]", 4, 8)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "U8", "[3]", 0, 3), tensor("b", "F32", "[1]", 3, 7)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "F32", "[2]", 0, 8), tensor("b", "F32", "[2]", 0, 8)));
  EXPECT_ERROR(kInvalid, parse_two(tensor("a", "U8", "[1]", 1, 2), tensor("b", "U8", "[6]", 2, 8)));
  EXPECT_ERROR(kInvalid, parse(file_of("{}", data)));
  // Size against shape × type.
  for (const char* shape : {"[1]", "[3]", "[0]", "[]", "[2,2]"})
    EXPECT_ERROR(kInvalid, parse(file_of("{" + tensor("a", "F32", shape, 0, 8) + "}", data)));
  // Products that wrap around 64 bits to the right size: 2^62 + 2 elements of 4 bytes, 2^32 · 2^32.
  for (const char* shape : {"[4611686018427387906]", "[4294967296,4294967296,2]", "[18446744073709551615,2]"})
    EXPECT_ERROR(kInvalid, parse(file_of("{" + tensor("a", "F32", shape, 0, 8) + "}", data)));
}

TEST("messages name the file and what is wrong") {
  const std::string text =
      message_of([] { parse(file_of("{" + tensor("conv_in.weight", "F32", "[3]", 0, 8) + "}", std::string(8, '\0'))); });
  EXPECT(contains(text, "test file"));
  EXPECT(contains(text, "\"conv_in.weight\" holds 8 bytes where its shape and type need 12"));
}

TEST("files that cannot be opened") {
  const Folder folder;
  EXPECT_ERROR("CONES_MODEL_NOT_FOUND", SafetensorsFile(folder.path("absent.safetensors")));
  EXPECT(contains(message_of([&] { SafetensorsFile file(folder.path("absent.safetensors")); }), "absent.safetensors"));
  const std::string empty = folder.write("empty.safetensors", "");
  EXPECT_ERROR(kInvalid, SafetensorsFile{empty});
  EXPECT_ERROR("CONES_MODEL_NOT_FOUND", SafetensorsFile(empty + "/inside"));
  EXPECT_ERROR("CONES_IO", SafetensorsFile(folder.path(".")));
}

TEST("weights by name, over shards") {
  const Folder folder;
  const float values[] = {1.5f, -2, 3, 4};
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  const std::string a = folder.write("a.safetensors", file_of("{" + tensor("w", "F32", "[2,2,1,1]", 0, 16) + "}", data));
  const std::string b = folder.write(
      "b.safetensors", file_of("{" + tensor("v", "F16", "[2]", 0, 4) + "," + tensor("s.position_ids", "I64", "[1]", 4, 12) +
                                   "," + tensor("unused.1", "F16", "[2]", 12, 16) + "}",
                               data));
  Weights weights({a, b});
  EXPECT(weights.has("v") && !weights.has("x"));

  const Parameter* w = weights.find_either("w", {2, 2}, {2, 2, 1, 1});
  EXPECT(w->name == "w" && w->shape == (Shape{2, 2, 1, 1}) && w->dtype == DType::f32);
  float read[2];
  w->read(1, 3, read);
  EXPECT(read[0] == -2 && read[1] == 3);
  EXPECT(weights.find("w", {2, 2, 1, 1}) == w);

  EXPECT_ERROR("CONES_TENSOR_MISSING", weights.find("x", {2}));
  EXPECT_ERROR("CONES_TENSOR_SHAPE", weights.find("v", {3}));
  EXPECT_ERROR("CONES_TENSOR_SHAPE", weights.find("v", {2, 1}));
  EXPECT_ERROR("CONES_TENSOR_SHAPE", weights.find("s.position_ids", {1}));
  const std::string shape = message_of([&] { weights.find("v", {3}); });
  EXPECT(contains(shape, "\"v\"") && contains(shape, "b.safetensors") && contains(shape, "[2]") && contains(shape, "[3]"));

  EXPECT_ERROR("CONES_TENSOR_UNEXPECTED", weights.check_all_used());
  const std::string unexpected = message_of([&] { weights.check_all_used({"position_ids"}); });
  EXPECT(contains(unexpected, "\"unused.1\"") && contains(unexpected, "\"v\"") && !contains(unexpected, "position_ids") &&
         !contains(unexpected, "\"w\""));
  weights.find("unused.1", {2});
  weights.find("v", {2});
  weights.check_all_used({"position_ids"});

  const Weights moved = std::move(weights);  // parameters keep their place
  w->read(0, 1, read);
  EXPECT(read[0] == 1.5f);
}

TEST("a file that is written to while it is open") {
  const Folder folder;
  const std::string bytes = file_of("{" + tensor("a", "U8", "[4]", 0, 4) + "," + tensor("b", "F16", "[2]", 4, 8) + "}", "abcdefgh");
  const auto open = [&] { return std::make_unique<Weights>(std::vector{folder.write("file", bytes)}); };
  const auto read = [](Weights& weights) {
    float values[2];
    weights.find("b", {2})->read(0, 2, values);
  };
  const auto changed = [&](const auto& change) {
    const auto weights = open();
    read(*weights);
    weights->check_unchanged();
    change();
    EXPECT_ERROR("CONES_MODEL_CHANGED", read(*weights));
    EXPECT_ERROR("CONES_MODEL_CHANGED", weights->check_unchanged());
  };
  const std::string path = folder.path("file");
  changed([&] { std::filesystem::resize_file(path, 0); });
  changed([&] { std::filesystem::resize_file(path, bytes.size() - 1); });
  changed([&] { std::filesystem::resize_file(path, bytes.size() + 1); });
  changed([&] {  // as long as before, a second older: the clock of a file system may be coarse
    const auto time = std::filesystem::last_write_time(path);
    folder.write("file", std::string(bytes.size(), 'x'));
    std::filesystem::last_write_time(path, time - std::chrono::seconds(1));
  });

  changed([&] {  // as long as before, and the old time given back, as cp -p and tar do
    const auto time = std::filesystem::last_write_time(path);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // coarser clocks
    folder.write("file", std::string(bytes.size(), 'x'));
    std::filesystem::last_write_time(path, time);
  });

  const auto weights = open();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  read(*weights);
  std::filesystem::rename(path, folder.path("moved"));
  read(*weights);
  std::filesystem::rename(folder.path("moved"), path);
  std::filesystem::rename(folder.write("other", "another file"), path);
  read(*weights);
  std::filesystem::remove(path);
  read(*weights);
}

TEST("messages quote a line of what a header says") {
  const std::string longest(1'000, 'n'), longer(2'000'000, 'n');
  for (const std::string& name : {longest, longer}) {
    const std::string message = message_of([&] { parse(file_of("{" + tensor(name, "U8", "[1]", 1, 2) + "}", "xx")); });
    EXPECT(contains(message, "test file"));
    EXPECT(message.size() < 400);
  }
  EXPECT(message_of([&] { parse(file_of("{" + tensor("a", longer, "[1]", 0, 1) + "}", "x")); }).size() < 400);
  EXPECT(message_of([&] { parse(file_of("{\"a\":{\"" + longest + "\":1}}", "")); }).size() < 400);
  std::string shape = "[1";
  for (int i = 0; i < 100'000; ++i) shape += ",1";
  EXPECT_ERROR(kInvalid, parse(file_of("{" + tensor("a", "U8", shape + "]", 0, 1) + "}", "x")));
  EXPECT(in_quotes("a\n\x7f") == "\"a??\"");
  // Not in the middle of a character: é has two bytes, of which the 100th is the first.
  EXPECT(in_quotes(std::string(99, 'a') + "éé") == "\"" + std::string(99, 'a') + "…\"");
}

TEST("a tensor in two shards is an error") {
  const Folder folder;
  const std::string bytes = file_of("{" + tensor("w", "U8", "[1]", 0, 1) + "}", "x");
  EXPECT_ERROR(kInvalid, Weights({folder.write("a", bytes), folder.write("b", bytes)}));
}
