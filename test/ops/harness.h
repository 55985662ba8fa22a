// A small test harness for the C++ suites: TEST registers, main (harness.cc) runs all and prints a summary.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "device/context.h"
#include "base/error.h"

namespace cones::test {

struct Registration {
  Registration(const char* name, void (*body)());
};

/// Records a failure of the running test; the test goes on.
void report(const char* file, int line, const std::string& message);

#define TEST_CONCAT_(a, b) a##b
#define TEST_CONCAT(a, b) TEST_CONCAT_(a, b)
#define TEST(name) TEST_BODY(name, TEST_CONCAT(test_body_, __LINE__))
#define TEST_BODY(name, body)                                   \
  static void body();                                           \
  static const cones::test::Registration TEST_CONCAT(test_entry_, __LINE__)(name, body); \
  static void body()

#define EXPECT(condition) \
  do {                    \
    if (!(condition)) cones::test::report(__FILE__, __LINE__, #condition); \
  } while (0)

/// The expression must throw cones::Error with this code.
#define EXPECT_ERROR(expected, expression)                                                                  \
  do {                                                                                                      \
    std::string code_ = "no error";                                                                         \
    try {                                                                                                   \
      expression;                                                                                           \
    } catch (const cones::Error& e) {                                                                       \
      code_ = e.code();                                                                                     \
    }                                                                                                       \
    if (code_ != (expected)) cones::test::report(__FILE__, __LINE__, std::string(#expression) + ": " + code_ + ", expected " + (expected)); \
  } while (0)

/// A context with its own memory, `threads` threads and the best (or the named) kernels.
Context make_context(int threads = 1, const char* isa = nullptr);

/// Instruction sets that this processor has, for tests that run all of them.
std::vector<const char*> instruction_sets();

/// Normally distributed values; the same for the same seed.
std::vector<double> random_values(std::size_t count, unsigned seed, double scale = 1.0);
Tensor to_tensor(const Context& context, const std::vector<double>& values, const Shape& shape);
std::vector<double> to_vector(const Tensor& tensor);

/// max |got - want| / max |want| (0 when both are all zero).
double relative_error(const Tensor& got, const std::vector<double>& want);

/// Reports unless relative_error ≤ tolerance. State where the tolerance comes from beside the call; fp32 rounding is
/// 6e-8, and a sum of n terms of mixed signs gathers about √n of it.
void expect_close(const char* file, int line, const std::string& what, const Tensor& got,
                  const std::vector<double>& want, double tolerance);
#define EXPECT_CLOSE(what, got, want, tolerance) \
  cones::test::expect_close(__FILE__, __LINE__, what, got, want, tolerance)

/// Gradient of loss(x) in double precision by central differences, for reference forwards written in doubles.
std::vector<double> finite_differences(std::vector<double> x,
                                       const std::function<double(const std::vector<double>&)>& loss,
                                       double step = 1e-5);

}  // namespace cones::test
