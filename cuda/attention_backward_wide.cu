// Gradients of attention for wide heads: a block has 64 tokens and a slice of their channels. For every tile that passes by it
// computes s and g over all channels, chunk by chunk, then adds its slice of the products.
#include "attention_gradient.cuh"

namespace cones::cuda::attention {
namespace {

constexpr int kOther = 32, kChunk = 64, kSlice = 128;
constexpr int kOwnChunk = kRows * kPitch<kChunk>, kOtherChunk = kOther * kPitch<kChunk>;
constexpr int kStage = 2 * (kOwnChunk + kOtherChunk), kSliceTile = kOther * kPitch<kSlice>;
constexpr std::size_t kShared = (2 * kStage + 2 * kSliceTile) * 2 + 3 * kRows * sizeof(float);

/// For keys, either of dk and dv may be null.
template <Of kOf, class T>
KERNEL void LAUNCH_BOUNDS(kThreads) gradient_slice(Backward<T> a) {
  constexpr int kQueries = kOf == Of::keys ? kOther : kRows;
  const Work<T> w = work_of<kOf, kOther>(a);
  const int slice = dev::block_y() * kSlice;
  T* const stages = reinterpret_cast<T*>(dev::shared());  // two times a chunk of two tiles [64, kPitch], of two [kOther, kPitch]
  T* const slices = stages + 2 * kStage;                  // of the two other tiles [kOther, kPitch<kSlice>]
  float* const statistics = reinterpret_cast<float*>(slices + 2 * kSliceTile);  // [3, kQueries]
  const int chunks = (a.sizes.dim + kChunk - 1) / kChunk;                       // three at least
  const int tiles = (w.end - w.begin + kOther - 1) / kOther;
  const auto fetch_chunk = [&](int i) {
    T* const own = stages + i % 2 * kStage;
    T* const other = own + 2 * kOwnChunk;
    const int first = w.begin + i / chunks * kOther, channel = i % chunks * kChunk;
    for (int n = 0; n < 2; ++n) {
      fetch<kRows, kChunk>(own + n * kOwnChunk, w.own[n], w.first, channel);
      fetch<kOther, kChunk>(other + n * kOtherChunk, w.other[n], first, channel);
    }
    dev::copy_commit();
  };
  const auto fetch_slice = [&](int j) {
    const int first = w.begin + j * kOther;
    for (int n = 0; n < 2; ++n) fetch<kOther, kSlice>(slices + n * kSliceTile, w.other[n], first, slice);
    fetch_statistics<kQueries>(statistics, a, w.at, kOf == Of::keys ? first : w.first);
  };

  fetch_chunk(0);
  constexpr int kValueSums = kOf == Of::keys ? kSlice / 8 : 1;
  float sum[kSlice / 8][4], value_sum[kValueSums][4];  // dq or dk, in units; dv
  clear(sum);
  clear(value_sum);
  float s[kOther / 8][4], g[kOther / 8][4];
  float unit = kLeastUnit, inverse[2];
  for (int j = 0, i = 0; j < tiles; ++j) {
    clear(s);
    clear(g);
    for (int chunk = 0; chunk < chunks; ++chunk, ++i) {
      dev::copy_wait<0>();
      dev::sync();  // chunk i has come for all, and nobody reads chunk i − 1 or the last tile's slices any more
      if (chunk == 0) fetch_slice(j);  // comes with the next chunk
      if (i + 1 < tiles * chunks) fetch_chunk(i + 1);
      const T* const own = stages + i % 2 * kStage;
      const T* const other = own + 2 * kOwnChunk;
      UNROLL
      for (int n = 0; n < kChunk / 16; ++n) {
        std::uint32_t rows[4];
        load_rows<kChunk>(rows, own, n);
        multiply_transposed<kOther, kChunk>(s, rows, other, n);
        load_rows<kChunk>(rows, own + kOwnChunk, n);
        multiply_transposed<kOther, kChunk>(g, rows, other + kOtherChunk, n);
      }
    }
    if constexpr (kOf == Of::keys) {
      unit = follow_unit<kOther>(unit, statistics, sum);
      inverse[0] = inverse[1] = 1.0f / unit;
    } else {
      for (int r = 0; r < 2; ++r) inverse[r] = 1.0f / statistics[2 * kRows + row_of_lane() + r * 8];
    }
    gradient_of_scores<kOf, kOther>(s, g, a.sizes, w, w.begin + j * kOther, statistics, inverse);
    if constexpr (kOf == Of::keys)
      if (a.dv != nullptr) multiply<kOther, kSlice>(value_sum, s, slices + kSliceTile);
    if (kOf == Of::queries || a.dk != nullptr) multiply<kOther, kSlice>(sum, g, slices);
  }
  dev::copy_wait<0>();

  if constexpr (kOf == Of::keys) {
    if (a.dk != nullptr) store_part<kSlice>(a.dk, a.dk_parts, a, w, slice, sum, a.sizes.scale * unit);
    if (a.dv != nullptr) store_part<kSlice>(a.dv, a.dv_parts, a, w, slice, value_sum, 1.0f);
  } else {
    const float factor[2] = {a.sizes.scale / inverse[0], a.sizes.scale / inverse[1]};
    store<kSlice>(head_of(a.dq, a.sizes, a.sizes.queries, w.at), w.first, slice, sum, factor);
  }
}

template <class T>
int launch_slices(Stream* stream, const Backward<T>& task) {
  const std::int64_t slices = divide_up(task.sizes.dim, kSlice);
  if (slices > 65535) return kInvalid;
  int status = 0;
  if (task.dq != nullptr)
    status = launch(stream, gradient_slice<Of::queries, T>, {blocks_of(task.sizes, task.sizes.queries), slices}, kThreads,
                    kShared, task);
  if (status == 0 && (task.dk != nullptr || task.dv != nullptr))
    status = launch(stream, gradient_slice<Of::keys, T>, {blocks_of(task.sizes, task.sizes.keys), slices, task.parts},
                    kThreads, kShared, task);
  return status;
}

}  // namespace

int backward_wide(Stream* stream, const Backward<dev::half>& task) { return launch_slices(stream, task); }
int backward_wide(Stream* stream, const Backward<dev::bf16>& task) { return launch_slices(stream, task); }

}  // namespace cones::cuda::attention
