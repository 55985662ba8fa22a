// Errors of the core. Codes are the strings of lib/errors.ts; messages say what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace cones {

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  /// A string literal such as "CONES_TENSOR_SHAPE".
  const char* code() const { return code_; }

 private:
  const char* code_;
};

/// A job cannot begin beside what is under way, which keeps memory between its steps; later it may.
class NotNow : public Error {
 public:
  using Error::Error;
};

[[noreturn]] void fail(const char* code, const std::string& message);

/// Guards an invariant that only a bug in cones can break (CONES_INTERNAL).
void check(bool ok, const char* what);

}  // namespace cones
