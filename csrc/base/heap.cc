#include "base/heap.h"

#if defined(__linux__)
#include <malloc.h>
#endif

namespace cones {

void trim_heap() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace cones
