#include "base/error.h"

namespace cones {

void fail(const char* code, const std::string& message) { throw Error(code, message); }

void check(bool ok, const char* what) {
  if (!ok) throw Error("CONES_INTERNAL", std::string("Internal error: ") + what + ". Please report this.");
}

}  // namespace cones
