#include "io/weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace cones {
namespace {

std::optional<DType> weight_dtype(const std::string& name) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  return std::nullopt;
}

bool has_shape(const SafetensorsEntry& entry, const Shape& shape) {
  if (entry.shape.size() != static_cast<std::size_t>(shape.rank())) return false;
  for (int i = 0; i < shape.rank(); ++i)
    if (entry.shape[static_cast<std::size_t>(i)] != static_cast<std::uint64_t>(shape[i])) return false;
  return true;
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// A listed tensor, which must lie inside its file.
SafetensorsEntry entry_of(const StoredTensor& tensor, const WeightFile& file) {
  std::uint64_t size = element_size(tensor.dtype).value_or(0), end = 0;
  bool fits = true;
  for (const std::uint64_t dim : tensor.shape) fits = fits && !__builtin_mul_overflow(size, dim, &size);
  fits = fits && !__builtin_add_overflow(tensor.offset, size, &end) && end <= file.size();
  if (!fits)
    fail("CONES_CHECKPOINT_INVALID", in_quotes(tensor.name) + " does not end inside " + file.path() +
                                         ", which is damaged or still being written. Download or save it again.");
  return {tensor.dtype, tensor.shape, tensor.offset, size};
}

}  // namespace

Weights::Weights(const WeightFiles& files) {
  for (const std::string& path : files.paths) {
    const WeightFile& file = files_.emplace_back(path);
    if (files.tensors) continue;
    for (auto& [name, entry] : parse_safetensors(file)) add(file, name, std::move(entry));
  }
  if (!files.tensors) return;
  for (const StoredTensor& tensor : *files.tensors) {
    check(tensor.file < files_.size(), "a tensor is in one of the files");
    const WeightFile& file = files_[tensor.file];
    add(file, tensor.name, entry_of(tensor, file));
  }
}

void Weights::add(const WeightFile& file, const std::string& name, SafetensorsEntry entry) {
  const auto [known, is_new] = tensors_.try_emplace(name, Tensor{&file, std::move(entry), false, {}});
  if (!is_new)
    fail("CONES_SAFETENSORS_INVALID", in_quotes(name) + " is both in " + known->second.file->path() + " and in " +
                                          file.path() + ". Keep only the files that the index lists.");
}

const Parameter* Weights::find(const std::string& name, const Shape& shape) { return find_either(name, shape, shape); }

const Parameter* Weights::find_either(const std::string& name, const Shape& shape, const Shape& other) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    const std::string where = files_.empty() ? "no file" : files_.front().path();
    fail("CONES_TENSOR_MISSING", "The config asks for the tensor " + in_quotes(name) + ", but it is not in " + where +
                                     (files_.size() > 1 ? " or its other shards" : "") +
                                     ". Check that config.json and the weights belong together.");
  }
  Tensor& tensor = found->second;
  const SafetensorsEntry& entry = tensor.entry;
  const std::optional<DType> dtype = weight_dtype(entry.dtype);
  if (!dtype)
    fail("CONES_TENSOR_SHAPE", in_quotes(name) + " in " + tensor.file->path() + " is of type " + in_quotes(entry.dtype) +
                                   "; weights must be F32, F16 or BF16. Export the model in one of these.");
  const bool first = has_shape(entry, shape);
  if (!first && !has_shape(entry, other))
    fail("CONES_TENSOR_SHAPE", in_quotes(name) + " in " + tensor.file->path() + " is " + shape_text(entry.shape) +
                                   ", but the config asks for " + shape.text() +
                                   (shape == other ? "" : " or " + other.text()) +
                                   ". Check that config.json and the weights belong together.");
  if (!tensor.used) {
    tensor.used = true;
    tensor.parameter = {name, first ? shape : other, *dtype, bytes_of(*tensor.file, entry)};
  }
  return &tensor.parameter;
}

const Parameter* Weights::used(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found != tensors_.end() && found->second.used ? &found->second.parameter : nullptr;
}

std::vector<Parameter*> Weights::all_used() {
  std::vector<Parameter*> found;
  for (auto& [name, tensor] : tensors_)
    if (tensor.used) found.push_back(&tensor.parameter);
  return found;
}

void Weights::check_all_used(const std::vector<std::string_view>& ignored) const {
  constexpr std::size_t kNamed = 3;
  std::size_t count = 0;
  std::string names;
  for (const auto& [name, tensor] : tensors_) {
    const auto ends_name = [&name](std::string_view suffix) { return name.ends_with(suffix); };
    if (tensor.used || std::any_of(ignored.begin(), ignored.end(), ends_name)) continue;
    if (count < kNamed) names += (count ? ", " : "") + in_quotes(name);
    ++count;
  }
  if (count == 0) return;
  if (count > kNamed) names += " and " + std::to_string(count - kNamed) + " more";
  fail("CONES_TENSOR_UNEXPECTED", "The config does not ask for " + names + " in " + files_.front().path() +
                                      ". Check that config.json and the weights belong together.");
}

void Weights::check_unchanged() const {
  for (const WeightFile& file : files_) file.check_unchanged();
}

}  // namespace cones
