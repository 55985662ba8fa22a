// A case is one function that calls ops of a Backend and checks what they give. It runs several times: on the backend that is
// tested, on the CPU, on the CPU with absolute inputs (whose results are Σ|a||b|), on the tested backend's planner, and with the
// last batch row alone. Inputs are made from a seed, so every run sees the same, rounded to the tested backend's type.
//
// A result may differ from the CPU's by
//   u·|want|                    one rounding to 16 bits: u = 2⁻¹¹ (fp16), 2⁻⁸ (bf16); not for fp32 results
//   4·√terms·2⁻²⁴·Σ|a||b|       sums of `terms` products in fp32, in any order
//   more                        what the case derives besides
//   half of fp16's least subnormal
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "device/backend.h"

namespace cones::test {

/// Where cases run.
struct Side {
  std::shared_ptr<Device> device;
  std::shared_ptr<const Backend> backend;
  std::function<std::int64_t()> launches;  // kernels started so far; null: nobody counts
};

struct Input {
  double scale = 1, mean = 0;   // of normally distributed values
  bool rows = false;            // one row per batch row: a run with one row alone gets only that
  bool gradient = false;        // of activations: carries the gradient scale
  std::optional<DType> dtype = {};  // that of activations unless told otherwise
};

struct Check {
  double terms = 0;
  bool exact = false;     // all bits of the CPU's result, rounded to the result's type
  bool rows = false;      // row b belongs to batch row b: it has the same bits without the others
  bool gradient = false;  // carries the gradient scale
  std::function<std::vector<double>()> more = nullptr;  // of each element; called in the CPU's run, after its ops
};

enum class Role { tested, reference, magnitude, plan, alone, timed };

class Run {
 public:
  Run(const Side& side, Role role, DType narrow, unsigned seed, float gradient_scale);
  ~Run();
  Run(const Run&) = delete;

  const Context& context() const { return context_; }
  const Backend& backend() const { return *context_.backend; }
  /// The rounding unit of the tested backend's activations: 2⁻¹¹, 2⁻⁸, or 2⁻²⁴ for fp32.
  double unit() const;

  Tensor input(const Shape& shape, const Input& how = {});
  Tensor given(std::vector<float> values, const Shape& shape, const Input& how = {});
  /// `exact`: its values are of the 16-bit type already; otherwise the tested backend rounds them, and the CPU sees them rounded.
  const Parameter& weight(const Shape& shape, DType stored = DType::f32, double scale = 1, bool exact = true);
  /// Values on the host, with their gradient scale; none while planning.
  std::vector<double> values(const Tensor& tensor) const;

  /// What belongs to the batch rows of this run, of one thing per row.
  template <class T>
  std::vector<T> pick(std::vector<T> all) const {
    return role_ == Role::alone ? std::vector<T>{all.back()} : all;
  }

  /// The calls that the case is about: counted, planned, timed.
  void op(const std::function<void()>& calls);
  void check(const std::string& name, const Tensor& result, const Check& how);
  void check(const std::string& name, const std::vector<double>& result, const Check& how);

  struct Result {
    std::string name;
    std::vector<double> values, more;
    DType dtype;
    Check how;
  };
  struct Use {  // of memory, in one op()
    std::size_t peak, in_use;
    bool operator==(const Use&) const = default;
  };
  const std::vector<Result>& results() const { return results_; }
  const std::vector<Use>& uses() const { return uses_; }
  /// Seen in this run: inputs by rows, gradients, calls without a kernel, writes beyond a block; each op's median time.
  bool has_rows = false, has_gradients = false, without_launch = false;
  index_t batch = 0;
  std::vector<double> microseconds;
  bool damaged() const;

 private:
  std::vector<float> random(index_t count, const Input& how);

  class Poisoned;
  const Side& side_;
  Role role_;
  DType narrow_;
  unsigned seed_;
  std::unique_ptr<Poisoned> device_;
  Context context_;
  std::deque<std::vector<std::byte>> stored_;
  std::deque<Parameter> parameters_;
  std::vector<Result> results_;
  std::vector<Use> uses_;
};

class Table {
 public:
  void add(std::string name, std::function<void(Run&)> body) { cases_.push_back({std::move(name), std::move(body)}); }

  struct Options {
    std::string filter;
    unsigned seed = 1;
    bool time = false, verbose = false;
  };
  /// How many failed, -1 where none ran.
  int run(const Side& tested, const Side& reference, const Options& options) const;

 private:
  struct Case {
    std::string name;
    std::function<void(Run&)> body;
  };
  std::vector<Case> cases_;
};

/// The cases, by group.
void products_cases(Table&);
void conv2d_cases(Table&);
void attention_cases(Table&);
void norm_cases(Table&);
void elementwise_cases(Table&);
void row_cases(Table&);
void sampling_cases(Table&);
void training_cases(Table&);
void search_cases(Table&);

// ---- for cases ----
inline std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
/// "2x35x129"
std::string sizes(std::initializer_list<index_t> dims);

}  // namespace cones::test
