// One micro-kernel for all instruction sets: R rows × V vectors of accumulators stay in registers while k runs. Each k
// loads V vectors of B and broadcasts one element of A per row.
//
// Only functions of internal linkage here: an inline function shared with code of another instruction set would be merged
// by the linker, and an old processor could end up in the AVX-512 copy.
#include "cpu/kernels/gemm_kernels.h"

#include "cpu/kernels/simd.h"

namespace cones {
namespace CONES_ISA {
namespace {

#if defined(CONES_ISA_AVX512)
// 12 × 2 accumulators, 2 vectors of B and a broadcast: 27 of 32 registers, 14 loads for 24 multiply-adds.
constexpr int kVecs = 2, kRows = 12;
#elif defined(CONES_ISA_AVX2)
constexpr int kVecs = 2, kRows = 6;
#else
constexpr int kVecs = 8, kRows = 4;
#endif

constexpr int kWidth = kVecs * kLanes;
constexpr int kLine = 16;  // floats of a line of the cache

// Which lanes of vector v of a row of C there are: all, or those of its first `columns` elements.
struct AllColumns {
  CONES_INLINE Full lanes(int) const { return {}; }
};
struct SomeColumns {
  int columns;
  CONES_INLINE Part lanes(int v) const {
    const int n = columns - v * kLanes;
    return Part(n < 0 ? 0 : n > kLanes ? kLanes : n);
  }
};

// Vector v of row k of a panel, without the elements whose bit is 0.
CONES_INLINE vec load_kept(const float* b, const std::uint8_t* mask, std::int64_t k, int v) {
  mask += k * (kWidth / 8);
  b += v * kLanes;
#if defined(CONES_ISA_AVX512)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask[2 * v] | mask[2 * v + 1] << 8), b);
#elif defined(CONES_ISA_AVX2)
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i kept = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask[v]), bit), bit);
  return _mm256_and_ps(_mm256_loadu_ps(b), _mm256_castsi256_ps(kept));
#else
  return set(mask[0] >> v & 1 ? *b : 0.0f);
#endif
}

// Where the rows of A are: each behind its own pointer, a fixed stride apart, or the columns of a matrix.
template <int R>
struct PointedRows {
  const float* row[R];
  float at(int r, std::int64_t k) const { return row[r][k]; }
  CONES_INLINE void advance(std::int64_t k) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) row[r] += k;
  }
};
// A linear layer's. A pointer for every fourth row and the stride reach all: no register has to be spilled.
template <int R>
struct StridedRows {
  const float* base[(R + 3) / 4];
  std::int64_t stride;
  CONES_INLINE StridedRows(const float* first, std::int64_t a_stride) : stride(a_stride) {
    for (int i = 0; i < (R + 3) / 4; ++i) base[i] = first + 4 * i * stride;
  }
  CONES_INLINE float at(int r, std::int64_t k) const { return base[r / 4][r % 4 * stride + k]; }
  CONES_INLINE void advance(std::int64_t k) {
    for (int i = 0; i < (R + 3) / 4; ++i) {
      base[i] += k;
      asm("" : "+r"(base[i]));  // or it becomes a pointer for each row
    }
  }
};
struct StridedColumns {
  const float* base;
  std::int64_t stride;
  float at(int r, std::int64_t k) const { return base[k * stride + r]; }
};

template <int R, int V, bool kMasked, typename Rows>
CONES_INLINE void multiply_one(vec (&acc)[R][V], const Rows& a, const float* b, const std::uint8_t* mask, std::int64_t k) {
  vec bv[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) bv[v] = kMasked ? load_kept(b, mask, k, v) : load(b + v * kLanes, Full{});
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const vec value = set(a.at(r, k));
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = fma(value, bv[v], acc[r][v]);
  }
}

template <int R, int V, bool kMasked, typename Rows>
CONES_INLINE void multiply(vec (&acc)[R][V], const Rows& a, const float* b, std::int64_t b_stride,
                           const std::uint8_t* mask, std::int64_t depth) {
  for (std::int64_t k = 0; k < depth; ++k, b += b_stride) multiply_one<R, V, kMasked>(acc, a, b, mask, k);
}

// multiply for a depth of whole fours, `step` floats from `next` on being fetched for each k. Advances what it is given.
template <int R, int V, bool kMasked, typename Rows>
CONES_INLINE void multiply_interval(vec (&acc)[R][V], Rows& a, const float*& b, const std::uint8_t*& mask,
                                    int depth, const float*& next, std::int64_t step) {
  constexpr int kUnroll = 4;  // row pointers that find no register are loaded once for all of them
  for (int k = 0; k < depth; k += kUnroll) {
#pragma GCC unroll 4
    for (int i = 0; i < kUnroll; ++i) {
      __builtin_prefetch(next, 0, 2);
      next += step;
      multiply_one<R, V, kMasked>(acc, a, b + i * kWidth, mask, i);
      asm volatile("" ::: "memory");  // or loads are moved up until accumulators are spilled
    }
    a.advance(kUnroll);
    b += kUnroll * kWidth;
    if constexpr (kMasked) mask += kUnroll * (kWidth / 8);
  }
}

template <int R, int V>
CONES_INLINE void clear(vec (&acc)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = set(0);
}

template <int R, int V, typename Columns>
CONES_INLINE void add_c(vec (&acc)[R][V], const float* c, std::int64_t c_stride, Columns columns) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = load(c + r * c_stride + v * kLanes, columns.lanes(v)) + acc[r][v];
}

// acc[r] += rows[r], row by row.
template <int R, int V, typename Columns>
CONES_INLINE void add_rows(vec (&acc)[R][V], const float* const* rows, Columns columns) {
  if (rows == nullptr) return;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = acc[r][v] + load(rows[r] + v * kLanes, columns.lanes(v));
}

template <int R, int V, typename Columns>
CONES_INLINE void finish(const vec (&acc)[R][V], float* c, std::int64_t c_stride, Columns columns) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(c + r * c_stride + v * kLanes, acc[r][v], columns.lanes(v));
}

template <int R, int V, typename Columns>
CONES_INLINE void add_and_store(vec (&acc)[R][V], const GemmTile& t, Columns columns) {
  if (t.accumulate) add_c(acc, t.c, t.c_stride, columns);
  add_rows(acc, t.bias, columns);
  add_rows(acc, t.residual, columns);
  finish(acc, t.c, t.c_stride, columns);
}

// The rows that are due in interval i.
CONES_INLINE void fetch_rows(const GemmFetch& f, int i, std::int64_t c_stride) {
  const int end = (i + 1) * f.row_step, last = end < f.rows ? end : f.rows;
  for (int r = i * f.row_step; r < last; ++r)
    for (int j = 0; j < kWidth; j += kLine) {
      __builtin_prefetch(f.c + r * c_stride + j, 1, 3);
      if (f.residual) __builtin_prefetch(f.residual + r * c_stride + j, 0, 3);
    }
}

// Where the rows of A are, and whether what `fetch` names is fetched.
enum class Reads { pointed, pointed_fetching, strided_fetching };

template <int R, int V, bool kMasked, Reads kReads>
void run_tile(const GemmTile& t, const std::uint8_t* mask) {
  vec acc[R][V];
  clear(acc);
  [[maybe_unused]] int interval = 0;
  [[maybe_unused]] const float* next = t.fetch ? t.fetch->b : nullptr;
  for (int s = 0; s < t.segments; ++s) {
    const float* b = t.segment[s].b;
    std::int64_t left = t.depth;
    const auto multiply_segment = [&](auto a) __attribute__((always_inline)) {
      if constexpr (kReads != Reads::pointed)
        for (; left >= t.fetch->interval; left -= t.fetch->interval) {
          fetch_rows(*t.fetch, interval++, t.c_stride);
          multiply_interval<R, V, kMasked>(acc, a, b, mask, t.fetch->interval, next, t.fetch->b_step);
        }
      multiply<R, V, kMasked>(acc, a, b, kWidth, mask, left);
    };
    if constexpr (kReads == Reads::strided_fetching) {
      multiply_segment(StridedRows<R>(t.segment[s].a[0] + t.offset, t.a_stride));
    } else {
      PointedRows<R> a;
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) a.row[r] = t.segment[s].a[r] + t.offset;
      multiply_segment(a);
    }
  }
  // Apart, because masks for every row and vector take longer than a short chain's multiplications leave unseen.
  if (t.columns == V * kLanes) return add_and_store(acc, t, AllColumns{});
  add_and_store(acc, t, SomeColumns{t.columns});
}

// Narrow outputs (a convolution to 4 channels) leave the upper vectors out.
template <int R, bool kMasked>
void dispatch(const GemmTile& t, const std::uint8_t* mask) {
  if constexpr (R > 1)
    if (t.rows < R) return dispatch<R - 1, kMasked>(t, mask);
  constexpr int kHalf = kVecs / 2;
  if (t.columns <= kHalf * kLanes) return run_tile<R, kHalf, kMasked, Reads::pointed>(t, mask);
  if (t.fetch == nullptr) return run_tile<R, kVecs, kMasked, Reads::pointed>(t, mask);
  if (t.a_stride != 0) return run_tile<R, kVecs, kMasked, Reads::strided_fetching>(t, mask);
  run_tile<R, kVecs, kMasked, Reads::pointed_fetching>(t, mask);
}

void run(const GemmTile& t) { dispatch<kRows, false>(t, nullptr); }

void run_masked(const GemmTile& t, const std::uint8_t* mask) { dispatch<kRows, true>(t, mask); }

template <int R>
void outer_tile(int rows, int columns, std::int64_t depth, const float* p, std::int64_t p_stride, const float* q,
                std::int64_t q_stride, float* c, std::int64_t c_stride, bool accumulate) {
  if constexpr (R > 1)
    if (rows < R) return outer_tile<R - 1>(rows, columns, depth, p, p_stride, q, q_stride, c, c_stride, accumulate);
  vec acc[R][kVecs];
  clear(acc);
  multiply<R, kVecs, false>(acc, StridedColumns{p, p_stride}, q, q_stride, nullptr, depth);
  if (accumulate) add_c(acc, c, c_stride, SomeColumns{columns});
  finish(acc, c, c_stride, SomeColumns{columns});
}

}  // namespace
}  // namespace CONES_ISA

#define CONES_JOIN_(a, b) a##b
#define CONES_JOIN(a, b) CONES_JOIN_(a, b)

extern const GemmKernels CONES_JOIN(gemm_kernels_, CONES_ISA);
const GemmKernels CONES_JOIN(gemm_kernels_, CONES_ISA) = {
    .panel_width = CONES_ISA::kWidth,
    .tile_rows = CONES_ISA::kRows,
    .run = CONES_ISA::run,
    .run_masked = CONES_ISA::run_masked,
    .outer = CONES_ISA::outer_tile<CONES_ISA::kRows>};

}  // namespace cones
