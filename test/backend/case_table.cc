#include "case_table.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>

#include "base/error.h"
#include "ops/transfer.h"

namespace cones::test {
namespace {

/// Values as a type has them.
void round_to(DType dtype, std::vector<float>& values) {
  if (dtype == DType::f32) return;
  std::vector<std::uint16_t> bits(values.size());
  narrow(values.data(), values.size(), dtype, bits.data());
  widen(dtype, bits.data(), values.size(), values.data());
}

double unit_of(DType dtype) { return dtype == DType::f16 ? 0x1p-11 : dtype == DType::bf16 ? 0x1p-8 : 0x1p-24; }

}  // namespace

/// Hands out blocks that are full of NaN, between guards that nobody may touch.
class Run::Poisoned final : public Device {
 public:
  explicit Poisoned(Device& device) : device_(device) {}
  bool host() const override { return device_.host(); }
  const char* name() const override { return device_.name(); }
  void* allocate(std::size_t size) override {
    auto* const block = static_cast<std::byte*>(device_.allocate(size + 2 * kGuard));
    if (block == nullptr) return nullptr;
    const std::vector<std::byte> poison(size + 2 * kGuard, kPoison);
    device_.upload(block, poison.data(), poison.size());
    sizes_[block + kGuard] = size;
    return block + kGuard;
  }
  void release(void* block) override {
    std::byte* const begin = static_cast<std::byte*>(block) - kGuard;
    for (std::byte* guard : {begin, begin + kGuard + sizes_.at(block)}) {
      std::byte bytes[kGuard];
      device_.download(bytes, guard, kGuard);
      damaged = damaged || std::ranges::any_of(bytes, [](std::byte b) { return b != kPoison; });
    }
    sizes_.erase(block);
    device_.release(begin);
  }
  void upload(void* to, const void* from, std::size_t size) override { device_.upload(to, from, size); }
  void download(void* to, const void* from, std::size_t size) override { device_.download(to, from, size); }
  void copy(void* to, const void* from, std::size_t size) override { device_.copy(to, from, size); }
  void zero(void* block, std::size_t size) override { device_.zero(block, size); }
  void finish() override { device_.finish(); }

  bool damaged = false;

 private:
  static constexpr std::size_t kGuard = 256;
  static constexpr std::byte kPoison{0xff};
  Device& device_;
  std::map<void*, std::size_t> sizes_;
};

Run::Run(const Side& side, Role role, DType narrow, unsigned seed, float gradient_scale)
    : side_(side), role_(role), narrow_(narrow), seed_(seed), device_(std::make_unique<Poisoned>(*side.device)) {
  context_ = {.memory = Memory::create(std::size_t{64} << 30, *device_), .backend = side.backend};
  if (role == Role::plan) context_ = context_.plan();
  context_.gradient_scale = gradient_scale;
}

Run::~Run() = default;

bool Run::damaged() const {
  context_.memory->trim();
  return device_->damaged;
}

double Run::unit() const { return unit_of(narrow_); }

std::vector<float> Run::random(index_t count, const Input& how) {
  std::mt19937 generator(seed_++ * 7919);
  std::normal_distribution<double> normal(how.mean, how.scale);
  std::vector<float> values(at(count));
  for (float& value : values) value = static_cast<float>(normal(generator));
  return values;
}

Tensor Run::input(const Shape& shape, const Input& how) { return given(random(shape.size(), how), shape, how); }

Tensor Run::given(std::vector<float> values, const Shape& shape, const Input& how) {
  Shape own = shape;
  if (how.rows) {
    has_rows = true, batch = shape[0];
    if (role_ == Role::alone) {
      own = shape.with_first(1);
      values.erase(values.begin(), values.end() - own.size());
    }
  }
  has_gradients = has_gradients || how.gradient;
  const float scale = how.gradient ? context_.gradient_scale : 1;
  for (float& value : values) value *= scale;
  if (how.dtype != DType::f32) round_to(narrow_, values);
  const bool on_cpu = role_ == Role::reference || role_ == Role::magnitude;
  for (float& value : values) {
    if (role_ == Role::magnitude) value = std::abs(value);
    if (on_cpu) value /= scale;
  }
  if (on_cpu) return upload(context_, values, own, DType::f32);
  return upload(context_, values, own, how.dtype.value_or(backend().activation()));
}

const Parameter& Run::weight(const Shape& shape, DType stored, double scale, bool exact) {
  std::vector<float> values = random(shape.size(), {.scale = scale});
  // A value with the fewer digits of both types, unless one of them has too small exponents for it: then rounding again ends it.
  if (exact) round_to(narrow_, values);
  round_to(stored, values);
  if (exact || role_ == Role::reference || role_ == Role::magnitude) round_to(narrow_, values);
  if (role_ == Role::magnitude)
    for (float& value : values) value = std::abs(value);
  if (!exact && role_ == Role::reference) stored = DType::f32;
  std::vector<std::byte>& bytes = stored_.emplace_back(values.size() * dtype_size(stored));
  if (stored == DType::f32)
    std::memcpy(bytes.data(), values.data(), bytes.size());
  else
    narrow(values.data(), values.size(), stored, bytes.data());
  return parameters_.emplace_back(Parameter{.name = "weight", .shape = shape, .dtype = stored, .bytes = read_memory(bytes.data())});
}

std::vector<double> Run::values(const Tensor& tensor) const {
  const std::vector<float> values = download(context_, tensor);
  return {values.begin(), values.end()};
}

void Run::op(const std::function<void()>& calls) {
  Device& device = context_.memory->device();
  if (role_ == Role::timed) {
    calls();
    device.finish();
    std::vector<double> times;
    for (double all = 0; times.size() < 5 || (times.size() < 100 && all < 1e5); all += times.back()) {
      const auto begin = std::chrono::steady_clock::now();
      calls();
      device.finish();
      times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
    }
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    microseconds.push_back(times[times.size() / 2]);
    return;
  }
  context_.memory->trim();  // so that results lie in poisoned blocks
  context_.memory->reset_peak();
  const std::int64_t before = side_.launches ? side_.launches() : -1;
  calls();
  uses_.push_back({context_.memory->peak(), context_.memory->in_use()});
  if (side_.launches && role_ == Role::tested && side_.launches() == before) without_launch = true;
}

void Run::check(const std::string& name, const Tensor& result, const Check& how) {
  if (role_ == Role::plan || role_ == Role::timed) return;
  Result kept{.name = name, .values = values(result), .more = {}, .dtype = result.dtype(), .how = how};
  if (how.gradient && (role_ == Role::tested || role_ == Role::alone))
    for (double& value : kept.values) value /= static_cast<double>(context_.gradient_scale);
  if (how.more && role_ == Role::reference) kept.more = how.more();
  results_.push_back(std::move(kept));
}

void Run::check(const std::string& name, const std::vector<double>& result, const Check& how) {
  if (role_ == Role::plan || role_ == Role::timed) return;
  results_.push_back({.name = name, .values = result, .more = {}, .dtype = DType::f32, .how = how});
  if (how.more && role_ == Role::reference) results_.back().more = how.more();
}

namespace {

bool same(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b) || (std::isnan(a) && std::isnan(b)); }

/// What is wrong with a result; empty: nothing.
std::string difference(const Run::Result& got, const Run::Result& want, const Run::Result* magnitude, double scale) {
  if (got.values.size() != want.values.size()) return "another size than the CPU's";
  if (!got.how.gradient) scale = 1;
  std::vector<float> exact(want.values.size());
  if (got.how.exact) {
    std::ranges::transform(want.values, exact.begin(), [&](double v) { return static_cast<float>(v * scale); });
    round_to(got.dtype, exact);
  }
  std::size_t wrong = 0;
  std::string first;
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    const double g = got.values[i], w = want.values[i];
    double most = 0;
    bool ok;
    if (got.how.exact) {
      ok = same(g, static_cast<double>(exact[i]) / scale);
    } else {
      if (got.dtype != DType::f32) most += unit_of(got.dtype) * std::abs(w);
      if (got.dtype == DType::f16) most += 0x1p-25 / scale;
      if (magnitude) most += 4 * std::sqrt(got.how.terms) * 0x1p-24 * magnitude->values[i];
      if (!want.more.empty()) most += want.more[i];
      ok = same(g, w) || std::abs(g - w) <= most;
      // Beyond fp16's largest number there is infinity.
      if (got.dtype == DType::f16 && std::isinf(g)) ok = ok || (std::signbit(g) == std::signbit(w) && (std::abs(w) + most) * scale > 65504);
    }
    if (ok) continue;
    if (++wrong > 1) continue;
    char text[160];
    std::snprintf(text, sizeof text, "[%zu] is %.9g, not %.9g ± %.3g", i, g, w, most);
    first = text;
  }
  return wrong == 0 ? "" : first + " (" + std::to_string(wrong) + " of " + std::to_string(want.values.size()) + ")";
}

std::string alone_difference(const Run::Result& all, const Run::Result& alone, index_t batch) {
  const std::size_t size = all.values.size() / at(batch);
  if (alone.values.size() != size) return "another size alone";
  for (std::size_t i = 0; i < size; ++i)
    if (!same(alone.values[i], all.values[all.values.size() - size + i]))
      return "[" + std::to_string(i) + "] of the last row depends on the others: alone it is " + std::to_string(alone.values[i]) +
             ", not " + std::to_string(all.values[all.values.size() - size + i]);
  return "";
}

}  // namespace

int Table::run(const Side& tested, const Side& reference, const Options& options) const {
  const DType type = tested.backend->activation();
  int ran = 0, failed = 0;
  for (const Case& c : cases_) {
    if (c.name.find(options.filter) == std::string::npos) continue;
    ++ran;
    bool ok = true;
    const auto report = [&](const std::string& what) {
      std::printf("FAILED %s: %s\n", c.name.c_str(), what.c_str());
      ok = false;
    };
    const unsigned seed = options.seed * 100003 + static_cast<unsigned>(std::hash<std::string>()(c.name));
    const auto perform = [&](const Side& side, Role role, float scale) {
      auto run = std::make_unique<Run>(side, role, type, seed, scale);
      c.body(*run);
      if (run->damaged()) report("wrote beyond a block");
      return run;
    };
    const auto all_of = [&](float scale) {
      const auto got = perform(tested, Role::tested, scale);
      const auto want = perform(reference, Role::reference, scale);
      const bool sums = std::ranges::any_of(got->results(), [](const Run::Result& r) { return r.how.terms > 0; });
      const auto magnitude = sums ? perform(reference, Role::magnitude, scale) : nullptr;
      for (std::size_t i = 0; i < got->results().size(); ++i)
        if (const std::string what = difference(got->results()[i], want->results()[i],
                                                magnitude ? &magnitude->results()[i] : nullptr, static_cast<double>(scale));
            !what.empty())
          report(got->results()[i].name + what + (scale > 1 ? " with a gradient scale" : ""));
      if (got->results().empty()) report("checks nothing");
      if (got->without_launch) report("started no kernel");
      if (got->has_rows) {
        const auto alone = perform(tested, Role::alone, scale);
        for (std::size_t i = 0; i < got->results().size(); ++i)
          if (got->results()[i].how.rows)
            if (const std::string what = alone_difference(got->results()[i], alone->results()[i], got->batch); !what.empty())
              report(got->results()[i].name + what);
      }
      const auto plan = perform(tested, Role::plan, scale);
      for (std::size_t i = 0; i < got->uses().size(); ++i)
        if (const Run::Use real = got->uses()[i], planned = plan->uses()[i]; real != planned)
          report("op " + std::to_string(i) + " has peak " + std::to_string(real.peak) + " and leaves " + std::to_string(real.in_use) +
                 " bytes, planned " + std::to_string(planned.peak) + " and " + std::to_string(planned.in_use));
      return got->has_gradients;
    };
    const auto begin = std::chrono::steady_clock::now();
    try {
      if (options.time) {
        std::printf("%-64s", c.name.c_str());
        const auto timed = perform(tested, Role::timed, 1);
        for (const double t : timed->microseconds) std::printf(" %10.1f", t);
        std::printf("\n");
      } else if (all_of(1) && type != DType::f32) {
        all_of(1024);
      }
    } catch (const std::exception& e) {
      report(std::string("threw ") + e.what());
    }
    failed += ok ? 0 : 1;
    if (options.verbose)
      std::printf("%s %s %.0f ms\n", ok ? "ok" : "failed", c.name.c_str(),
                  std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::printf("%d cases, %d failed\n", ran, failed);
  return ran == 0 ? -1 : failed;
}

std::string sizes(std::initializer_list<index_t> dims) {
  std::string text;
  for (index_t d : dims) text += (text.empty() ? "" : "x") + std::to_string(d);
  return text;
}

}  // namespace cones::test
