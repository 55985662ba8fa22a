// Before and after the gradients of attention: what they need of dy, and the sum of their parts.
#include "attention_gradient.cuh"

namespace cones::cuda::attention {
namespace {

constexpr int kLanes = 8;  // of a row; a head of 64 channels is 8 vectors
constexpr int kRowsPerBlock = kThreads / kLanes;

/// Eight values from channel c of a row on; zeros beyond its `dim`.
template <class T>
DEVICE void load(float (&values)[8], const T* row, int c, int dim, bool vectors) {
  if (vectors) {
    struct alignas(16) Vector {
      std::uint32_t words[4];
    };
    const Vector v = *reinterpret_cast<const Vector*>(row + c);
    for (int i = 0; i < 4; ++i) {
      const dev::Pair pair = dev::unpack<T>(v.words[i]);
      values[2 * i] = pair.low, values[2 * i + 1] = pair.high;
    }
  } else {
    for (int e = 0; e < 8; ++e) values[e] = c + e < dim ? dev::to_float(row[c + e]) : 0.0f;
  }
}

/// delta = Σ_c dy · out, unit = Σ_c |dy| rounded down to a power of two; dy and out [B, T, heads, d] → [B, heads, T]
template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads) statistics(Sizes z, const T* dy, const T* out, float* delta, float* unit) {
  const std::int64_t row = static_cast<std::int64_t>(dev::block_x()) * kRowsPerBlock + dev::thread() / kLanes;
  const bool inside = row < static_cast<std::int64_t>(z.batch) * z.queries * z.heads;
  float dot = 0.0f, size = 0.0f;
  for (int c = dev::thread() % kLanes * 8; inside && c < z.dim; c += kLanes * 8) {
    float a[8], b[8];
    load(a, dy + row * z.dim, c, z.dim, z.vectors);
    load(b, out + row * z.dim, c, z.dim, z.vectors);
    for (int e = 0; e < 8; ++e) {
      dot += a[e] * b[e];
      size += a[e] < 0.0f ? -a[e] : a[e];
    }
  }
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    dot += dev::shuffle_xor(dot, mask);
    size += dev::shuffle_xor(size, mask);
  }
  if (!inside || dev::thread() % kLanes != 0) return;
  const std::int64_t h = row % z.heads, t = row / z.heads % z.queries, b = row / z.heads / z.queries;
  const std::int64_t to = (b * z.heads + h) * z.queries + t;
  const float power = dev::float_of(dev::bits_of(size) & 0x7f800000u);
  delta[to] = dot;
  unit[to] = power < kLeastUnit ? kLeastUnit : power > kMostUnit ? kMostUnit : power;
}

template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads) add_parts(const float* parts, int count_of_parts, std::int64_t count, T* gradient) {
  const std::int64_t i = static_cast<std::int64_t>(dev::block_x()) * kThreads + dev::thread();
  if (i >= count) return;
  float sum = parts[i];
  for (int part = 1; part < count_of_parts; ++part) sum += parts[part * count + i];
  gradient[i] = dev::from_float<T>(sum);
}

template <class T>
int launch_statistics(Stream* stream, const Sizes& sizes, const T* dy, const T* out, float* delta, float* unit) {
  const std::int64_t rows = std::int64_t{sizes.batch} * sizes.queries * sizes.heads;
  return launch(stream, statistics<T>, {divide_up(rows, kRowsPerBlock)}, kThreads, 0, sizes, dy, out, delta, unit);
}
template <class T>
int launch_sum(Stream* stream, const float* parts, int count_of_parts, std::int64_t count, T* gradient) {
  return launch(stream, add_parts<T>, {divide_up(count, kThreads)}, kThreads, 0, parts, count_of_parts, count, gradient);
}

}  // namespace

int gradient_statistics(Stream* stream, const Sizes& sizes, const dev::half* dy, const dev::half* out, float* delta, float* unit) {
  return launch_statistics(stream, sizes, dy, out, delta, unit);
}
int gradient_statistics(Stream* stream, const Sizes& sizes, const dev::bf16* dy, const dev::bf16* out, float* delta, float* unit) {
  return launch_statistics(stream, sizes, dy, out, delta, unit);
}
int sum_parts(Stream* stream, const float* parts, int count_of_parts, std::int64_t count, dev::half* gradient) {
  return launch_sum(stream, parts, count_of_parts, count, gradient);
}
int sum_parts(Stream* stream, const float* parts, int count_of_parts, std::int64_t count, dev::bf16* gradient) {
  return launch_sum(stream, parts, count_of_parts, count, gradient);
}

}  // namespace cones::cuda::attention
