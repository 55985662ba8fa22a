#include "golden.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>

#include "harness.h"

namespace cones::test {
namespace {

constexpr const char* kFolder = "test/goldens/models/";

template <typename T>
std::vector<T> elements(const SafetensorsFile& file, const std::string& tensor, const char* dtype) {
  const SafetensorsEntry& entry = file.tensors().at(tensor);
  check(entry.dtype == dtype, "a golden's type");
  std::vector<T> out(entry.size / sizeof(T));
  file.bytes_of(entry)(0, std::as_writable_bytes(std::span(out)));
  return out;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Golden::Golden(const std::string& name)
    : name_(name),
      folder_(kFolder + name + "/"),
      errors_(read_text(folder_ + "errors.json")),
      file_(folder_ + "golden.safetensors") {}

std::vector<std::string> Golden::tensors() const {
  std::vector<std::string> names;
  for (const auto& [tensor, entry] : file_.tensors()) names.push_back(tensor);
  std::ranges::sort(names);
  return names;
}

index_t Golden::dim(const std::string& tensor, std::size_t i) const {
  return static_cast<index_t>(file_.tensors().at(tensor).shape.at(i));
}

std::vector<float> Golden::floats(const std::string& tensor) const {
  return elements<float>(file_, tensor, "F32");
}

std::vector<std::int32_t> Golden::ints(const std::string& tensor) const {
  return elements<std::int32_t>(file_, tensor, "I32");
}

Tensor Golden::channels_last(const Context& context, const std::string& tensor) const {
  const std::vector<float> from = floats(tensor);
  const index_t batch = dim(tensor, 0), channels = dim(tensor, 1), height = dim(tensor, 2), width = dim(tensor, 3);
  Tensor out = context.empty({batch, height, width, channels});
  for (index_t b = 0; b < batch; ++b)
    for (index_t c = 0; c < channels; ++c)
      for (index_t i = 0; i < height * width; ++i)
        out.host()[(b * height * width + i) * channels + c] =
            from[static_cast<std::size_t>((b * channels + c) * height * width + i)];
  return out;
}

// errors.json is our own file of a fixed form: { "tensor": { "field": number, … }, … }.
double Golden::error_entry(const std::string& tensor, const std::string& field) const {
  const std::size_t entry = errors_.find("\"" + tensor + "\": {");
  const std::size_t at = entry == std::string::npos ? entry : errors_.find("\"" + field + "\": ", entry);
  check(at != std::string::npos && at < errors_.find('}', entry), "errors.json lists the tensor");
  return std::strtod(errors_.c_str() + at + field.size() + 4, nullptr);
}

void Golden::expect(const char* file, int line, const std::string& tensor, const std::vector<float>& got) const {
  const std::vector<float> want = floats(tensor);
  double worst = got.size() == want.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < want.size() && i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  const double tolerance = 2 * error_entry(tensor, "maxAbsError") + 0x1p-24 * error_entry(tensor, "maxAbsValue");
  if (!(worst <= tolerance))
    report(file, line, name_ + " " + tensor + ": error " + std::to_string(worst * 1e6) + "e-6, tolerance " +
                           std::to_string(tolerance * 1e6) + "e-6");
}

std::vector<float> values(const Tensor& tensor) { return {tensor.host(), tensor.host() + tensor.size()}; }

std::vector<float> channels_first(const Tensor& tensor) {
  const index_t batch = tensor.dim(0), pixels = tensor.dim(1) * tensor.dim(2), channels = tensor.dim(3);
  std::vector<float> out(static_cast<std::size_t>(tensor.size()));
  for (index_t b = 0; b < batch; ++b)
    for (index_t c = 0; c < channels; ++c)
      for (index_t i = 0; i < pixels; ++i)
        out[static_cast<std::size_t>((b * channels + c) * pixels + i)] = tensor.host()[(b * pixels + i) * channels + c];
  return out;
}

}  // namespace cones::test
