// csrc/device/cuda_library: what it says of each thing that can be missing, and the device functions of the library that
// CONES_CUDA_LIBRARY names (the emulated one, or cones_cuda.so on a machine with a card).
#include "device/cuda_library.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"

using namespace cones;

namespace {

int failures = 0;
void expect(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::printf("FAILED %s\n", what.c_str());
}
bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// ---- libraries that cannot be used ----
void no_library() {
  const char* const named = std::getenv("CONES_CUDA_LIBRARY");
  const std::string kept = named ? named : "";
  for (const char* path : {"/nowhere/cones_cuda.so", "libm.so.6"}) {
    setenv("CONES_CUDA_LIBRARY", path, 1);
    const CudaSupport support = find_cuda();
    expect(support.library == nullptr && support.lack == CudaLack::library && support.devices.empty(), std::string(path) + ": lack");
    expect(contains(support.reason, path) && contains(support.reason, "Use device 'cpu'"), support.reason);
  }
  unsetenv("CONES_CUDA_LIBRARY");  // beside this program, where none is
  expect(find_cuda().lack == CudaLack::library && contains(find_cuda().reason, "/cones_cuda.so"), find_cuda().reason);
  if (!kept.empty()) setenv("CONES_CUDA_LIBRARY", kept.c_str(), 1);
}

// ---- machines that cannot be used: a library that says what the test wants ----
struct Machine {
  int driver = 13000, counted = 0, answers = 0;
  std::vector<cuda::DeviceInfo> cards = {};
};
Machine machine;

cuda::DeviceInfo card(const char* name, int major, int minor) {
  cuda::DeviceInfo info = {};
  std::strcpy(info.name, name);
  info.major = major, info.minor = minor;
  return info;
}

CudaSupport find_on(Machine m) {
  machine = std::move(m);
  static cuda::Library library;
  library = {};
  library.cuda_versions = [](int* driver, int* built) {
    *driver = machine.driver, *built = 13000;
    return 0;
  };
  library.device_count = [](int* count) {
    *count = machine.counted == 0 ? static_cast<int>(machine.cards.size()) : 0;
    return machine.counted;
  };
  library.device_info = [](int device, cuda::DeviceInfo* info) {
    *info = machine.cards[static_cast<std::size_t>(device)];
    return machine.answers;
  };
  library.error_text = [](int status) -> const char* { return status == 999 ? "unknown error" : "?"; };
  return find_cards(library);
}

std::string refusal(const CudaSupport& support, int wanted) {
  try {
    choose_card(support, wanted);
    return "";
  } catch (const Error& error) {
    expect(std::string(error.code()) == "CONES_DEVICE_UNAVAILABLE", error.code());
    return error.what();
  }
}

void expect_lack(Machine m, CudaLack lack, const char* says) {
  const CudaSupport support = find_on(std::move(m));
  expect(support.lack == lack && contains(support.reason, says), std::string("want \"") + says + "\": " + support.reason);
  expect(refusal(support, -1) == support.reason && refusal(support, 0) == support.reason, "refusal says the same");
}

void machines() {
  const cuda::DeviceInfo old = card("GeForce GTX 1080", 6, 1), turing = card("Tesla T4", 7, 5), ampere = card("A100", 8, 0),
                         blackwell = card("B200", 10, 0);
  expect_lack({.driver = 0, .counted = 35}, CudaLack::driver, "No NVIDIA driver");
  expect_lack({.driver = 12040, .counted = 35}, CudaLack::driver, "is for CUDA 12.4; cones needs one for CUDA 13.0");
  expect_lack({.driver = 12080, .cards = {ampere}}, CudaLack::driver, "is for CUDA 12.8");
  expect_lack({.counted = 100}, CudaLack::card, "finds no GPU");
  expect_lack({}, CudaLack::card, "finds no GPU.");
  expect_lack({.counted = 999}, CudaLack::card, "unknown error");
  expect_lack({.answers = 999, .cards = {ampere}}, CudaLack::card, "does not answer (CUDA says: unknown error)");
  expect_lack({.cards = {old}}, CudaLack::architecture, "GeForce GTX 1080 (compute capability 6.1)");
  expect_lack({.cards = {turing, old}}, CudaLack::architecture, "Tesla T4");

  const CudaSupport support = find_on({.driver = 13020, .cards = {turing, ampere, blackwell}});
  expect(support.lack == CudaLack::nothing && support.reason.empty() && support.devices.size() == 3, "two of three will do");
  expect(choose_card(support, -1) == 1 && choose_card(support, 1) == 1 && choose_card(support, 2) == 2, "the card to use");
  expect(contains(refusal(support, 0), "cuda:0, Tesla T4 (compute capability 7.5), is too old"), refusal(support, 0));
  expect(contains(refusal(support, 3), "no GPU cuda:3: this machine has 3"), refusal(support, 3));
}

// ---- the device functions ----
void device() {
  const CudaSupport support = find_cuda();
  expect(support.lack == CudaLack::nothing, support.reason);
  if (support.lack != CudaLack::nothing) return;
  const cuda::Library& library = *support.library;
  const int chosen = choose_card(support, -1);
  expect(library.version == cuda::kVersion, "version");
  const cuda::DeviceInfo& info = support.devices[static_cast<std::size_t>(chosen)];
  expect(info.major >= 8 && info.memory > 0 && info.multiprocessors > 0 && info.name[0] != '\0', "device's description");

  cuda::Stream* stream = nullptr;
  expect(library.stream_open(static_cast<int>(support.devices.size()), &stream) != 0 && stream == nullptr, "no such device");
  expect(library.stream_open(chosen, &stream) == 0 && stream != nullptr, "stream_open");
  std::int64_t free_before = 0, total = 0, free_after = 0;
  expect(library.memory_available(stream, &free_before, &total) == 0 && free_before > 0 && free_before <= total, "memory");

  void *a = nullptr, *b = nullptr;
  expect(library.allocate(stream, total + 1, &a) == cuda::kOutOfMemory && a == nullptr, "more than there is");
  expect(library.allocate(stream, 0, &a) == cuda::kInvalid, "nothing");
  // Smaller than a slot of the staging memory, its edges, several of them, and more than all of them.
  constexpr std::int64_t kSlot = 1 << 20, kMost = 40 * kSlot + 12345;
  expect(library.allocate(stream, kMost, &a) == 0 && library.allocate(stream, kMost, &b) == 0, "allocate");
  expect(reinterpret_cast<std::uintptr_t>(a) % 256 == 0 && reinterpret_cast<std::uintptr_t>(b) % 256 == 0, "alignment");
  std::vector<unsigned char> sent(static_cast<std::size_t>(kMost)), got(sent.size());
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{4097}, kSlot, kSlot + 1, 3 * kSlot - 5, kMost}) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(bytes); ++i) sent[i] = static_cast<unsigned char>(i * 31 + i / 4096 + 7);
    std::fill(got.begin(), got.end(), 0xee);
    expect(library.upload(stream, a, sent.data(), bytes) == 0 && library.copy(stream, b, a, bytes) == 0 &&
               library.zero(stream, a, bytes) == 0 && library.download(stream, got.data(), b, bytes) == 0,
           "a round trip of " + std::to_string(bytes));
    expect(std::memcmp(got.data(), sent.data(), static_cast<std::size_t>(bytes)) == 0, "bytes of " + std::to_string(bytes));
    expect(got.size() == static_cast<std::size_t>(bytes) || got[static_cast<std::size_t>(bytes)] == 0xee, "no byte more");
    expect(library.download(stream, got.data(), a, bytes) == 0 && got[0] == 0 && got[static_cast<std::size_t>(bytes) - 1] == 0, "zero");
  }
  // Many small uploads while the host is ahead: each keeps what it had when it was queued.
  for (int i = 0; i < 100; ++i) {
    const int value = i * 17;
    expect(library.upload(stream, static_cast<char*>(a) + 4 * i, &value, 4) == 0, "small upload");
  }
  std::vector<int> values(100);
  expect(library.download(stream, values.data(), a, 400) == 0, "download");
  for (int i = 0; i < 100; ++i) expect(values[static_cast<std::size_t>(i)] == i * 17, "small upload " + std::to_string(i));

  // An op through the table, on the library's own memory.
  expect(library.philox_normal(stream, {5, 0, static_cast<float*>(a), 1000}) == 0 && library.finish(stream) == 0, "philox_normal");
  std::vector<float> normals(1000);
  expect(library.download(stream, normals.data(), a, 4000) == 0 && normals[0] != 0 && normals[0] == normals[0], "normals");

  expect(library.release(stream, a) == 0 && library.release(stream, b) == 0 && library.release(stream, nullptr) == 0, "release");
  expect(library.memory_available(stream, &free_after, &total) == 0 && free_after >= free_before - (1 << 21), "all given back");
  expect(library.finish(stream) == 0 && library.stream_close(stream) == 0 && library.stream_close(nullptr) == 0, "close");
  expect(std::strlen(library.error_text(cuda::kInvalid)) > 0 && std::strlen(library.error_text(cuda::kOutOfMemory)) > 0 &&
             std::strlen(library.error_text(12345)) > 0,
         "texts");
}

}  // namespace

int main() {
  no_library();
  machines();
  device();
  std::printf("%s, %d failures\n", failures == 0 ? "ok" : "FAILED", failures);
  return failures == 0 ? 0 : 1;
}
