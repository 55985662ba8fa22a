// A filter's matrix [O, I, taps], as files have it, to [O, taps, I]: one element a thread, in the order of writing.
#include "conv2d.h"
#include "launch.h"

namespace cones::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, class S>
KERNEL void LAUNCH_BOUNDS(kThreads) pack(const S* from, T* to, int in, int taps, int blocks) {
  const int o = dev::block_x() / blocks, at = dev::block_x() % blocks * kThreads + dev::thread();
  if (at >= in * taps) return;
  const std::int64_t filter = static_cast<std::int64_t>(o) * in * taps;
  to[filter + at] = dev::from_float<T>(dev::to_float(from[filter + at % in * taps + at / in]));
}

template <class T, class S>
int start(Stream* stream, const Conv2dPackArgs& a) {
  const std::int64_t blocks = divide_up(a.in * a.taps, kThreads);  // a filter
  return launch(stream, pack<T, S>, Grid{a.out * blocks}, kThreads, 0, static_cast<const S*>(a.from), static_cast<T*>(a.to),
                static_cast<int>(a.in), static_cast<int>(a.taps), static_cast<int>(blocks));
}

}  // namespace

int conv2d_pack(Stream* stream, const Conv2dPackArgs& a) {
  if (a.in * a.taps >= 1 << 30) return kInvalid;
  return with_type(a.type, [&](auto t) {
    using T = decltype(t);
    if (a.from_type == Type::f32) return start<T, float>(stream, a);
    return with_type(a.from_type, [&](auto s) { return start<T, decltype(s)>(stream, a); });
  });
}

}  // namespace cones::cuda
