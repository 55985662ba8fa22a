// Attention for wide heads (the VAE's one head of 512): a block has 64 queries and a slice of output channels. For every tile of
// keys it computes the scores over all channels, chunk by chunk, then adds the slice of the values.
#include "attention_forward.cuh"
#include "attention_softmax.cuh"

namespace cones::cuda::attention {
namespace {

constexpr int kKeys = 64, kChunk = 64, kSlice = 256;
constexpr int kChunkTile = kRows * kPitch<kChunk>;  // as many queries as keys
constexpr int kSharedValues = 4 * kChunkTile + kKeys * kPitch<kSlice>;

template <class T>
KERNEL void LAUNCH_BOUNDS(kThreads) forward_slice(Forward<T> a) {
  const Place at = place(a.sizes, a.sizes.queries);
  const int first_query = at.tile * kRows, slice = dev::block_y() * kSlice;
  const Head<const T> q = head_of(a.q, a.sizes, a.sizes.queries, at), k = head_of(a.k, a.sizes, a.sizes.keys, at),
                      v = head_of(a.v, a.sizes, a.sizes.keys, at);
  T* const stages = reinterpret_cast<T*>(dev::shared());  // two times a chunk of queries, then of keys [64, kPitch]
  T* const v_tile = stages + 4 * kChunkTile;              // [kKeys, kPitch<kSlice>]
  const int chunks = (a.sizes.dim + kChunk - 1) / kChunk;  // three at least
  const int visible = a.sizes.causal && first_query + kRows < a.sizes.keys ? first_query + kRows : a.sizes.keys;
  const int tiles = (visible + kKeys - 1) / kKeys;
  const auto fetch_chunk = [&](int i) {
    T* const stage = stages + i % 2 * 2 * kChunkTile;
    fetch<kRows, kChunk>(stage, q, first_query, i % chunks * kChunk);
    fetch<kKeys, kChunk>(stage + kChunkTile, k, i / chunks * kKeys, i % chunks * kChunk);
    dev::copy_commit();
  };

  fetch_chunk(0);
  Softmax softmax;
  float o[kSlice / 8][4], s[kKeys / 8][4];
  clear(o);
  clear(s);
  for (int j = 0, i = 0; j < tiles; ++j) {
    for (int chunk = 0; chunk < chunks; ++chunk, ++i) {
      dev::copy_wait<0>();
      dev::sync();  // chunk i has come for all, and nobody reads chunk i − 1 or the last tile's values any more
      if (chunk == 0) fetch<kKeys, kSlice>(v_tile, v, j * kKeys, slice);  // come with the next chunk
      if (i + 1 < tiles * chunks) fetch_chunk(i + 1);
      const T* const stage = stages + i % 2 * 2 * kChunkTile;
      UNROLL
      for (int n = 0; n < kChunk / 16; ++n) {
        std::uint32_t rows[4];
        load_rows<kChunk>(rows, stage, n);
        multiply_transposed<kKeys, kChunk>(s, rows, stage + kChunkTile, n);
      }
    }
    hide<kKeys>(s, a.sizes, first_query, j * kKeys);
    step<kKeys>(softmax, s, o, a.sizes.scale2);
    multiply<kKeys, kSlice>(o, s, v_tile);
    clear(s);
  }
  float factor[2];
  finish(softmax, a.sizes, first_query, slice == 0 ? logsumexp_of(a, at) : nullptr, factor);
  store<kSlice>(head_of(a.out, a.sizes, a.sizes.queries, at), first_query, slice, o, factor);
}

template <class T>
int launch_slices(Stream* stream, const Forward<T>& task) {
  const std::int64_t slices = divide_up(task.sizes.dim, kSlice);
  if (slices > 65535) return kInvalid;
  return launch(stream, forward_slice<T>, {blocks_of(task.sizes, task.sizes.queries), slices}, kThreads,
                kSharedValues * sizeof(T), task);
}

}  // namespace

int forward_wide(Stream* stream, const Forward<dev::half>& task) { return launch_slices(stream, task); }
int forward_wide(Stream* stream, const Forward<dev::bf16>& task) { return launch_slices(stream, task); }

}  // namespace cones::cuda::attention
