// The C library's heap, which keeps what was freed.
#pragma once

namespace cones {

/// Gives the operating system what the heap keeps of freed memory: half-used pages of many small and middling blocks add up over a
/// server's life. Costs milliseconds: for the end of an engine. Does nothing where there is no such function.
void trim_heap();

}  // namespace cones
