// Attention whose heads fit registers: a block has 64 queries of one head and goes over the keys, the next tile of keys and
// values on its way while it works on this one.
#include "attention_forward.cuh"
#include "attention_softmax.cuh"

namespace cones::cuda {
namespace attention {
namespace {

template <int kChannels>
constexpr int kKeys = kChannels <= 128 ? 64 : 32;  // of a tile; wider heads have fewer registers and less memory left
template <int kChannels>
constexpr int kSharedValues = (kRows + 4 * kKeys<kChannels>) * kPitch<kChannels>;

template <class T, int kChannels>
KERNEL void LAUNCH_BOUNDS(kThreads) forward(Forward<T> a) {
  constexpr int kCount = kKeys<kChannels>, kTile = kCount * kPitch<kChannels>, kSteps = kDepth<kChannels> / 16;
  const Place at = place(a.sizes, a.sizes.queries);
  const int first_query = at.tile * kRows;
  const Head<const T> k = head_of(a.k, a.sizes, a.sizes.keys, at), v = head_of(a.v, a.sizes, a.sizes.keys, at);
  T* const q_tile = reinterpret_cast<T*>(dev::shared());  // [64, kPitch]
  T* const stages = q_tile + kRows * kPitch<kChannels>;   // two times keys, then values [kCount, kPitch]
  const auto fetch_keys = [&](int j) {
    T* const stage = stages + j % 2 * 2 * kTile;
    fetch<kCount, kChannels>(stage, k, j * kCount);
    fetch<kCount, kChannels>(stage + kTile, v, j * kCount);
    dev::copy_commit();
  };

  fetch<kRows, kChannels>(q_tile, head_of(a.q, a.sizes, a.sizes.queries, at), first_query);
  fetch_keys(0);
  const int visible = a.sizes.causal && first_query + kRows < a.sizes.keys ? first_query + kRows : a.sizes.keys;
  const int tiles = (visible + kCount - 1) / kCount;
  std::uint32_t q[kSteps][4];
  Softmax softmax;
  float o[kChannels / 8][4];
  clear(o);
  for (int j = 0; j < tiles; ++j) {
    dev::copy_wait<0>();
    dev::sync();  // tile j has come for all, and nobody reads tile j − 1 any more
    if (j + 1 < tiles) fetch_keys(j + 1);
    const T* const stage = stages + j % 2 * 2 * kTile;
    if (j == 0) {
      UNROLL
      for (int i = 0; i < kSteps; ++i) load_rows<kChannels>(q[i], q_tile, i);
    }
    float s[kCount / 8][4];
    clear(s);
    UNROLL
    for (int i = 0; i < kSteps; ++i) multiply_transposed<kCount, kChannels>(s, q[i], stage, i);
    hide<kCount>(s, a.sizes, first_query, j * kCount);
    step<kCount>(softmax, s, o, a.sizes.scale2);
    multiply<kCount, kChannels>(o, s, stage + kTile);
  }
  float factor[2];
  finish(softmax, a.sizes, first_query, logsumexp_of(a, at), factor);
  store<kChannels>(head_of(a.out, a.sizes, a.sizes.queries, at), first_query, 0, o, factor);
}

}  // namespace
}  // namespace attention

int attention_forward(Stream* stream, const AttentionForwardArgs& args) {
  using namespace attention;
  if (!valid(args)) return kInvalid;
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    const Forward<T> task = {sizes_of(args, aligned(args.q, args.k, args.v, args.out)), static_cast<const T*>(args.q),
                             static_cast<const T*>(args.k), static_cast<const T*>(args.v), static_cast<T*>(args.out),
                             args.logsumexp};
    if (task.sizes.dim > kWidestHead) return forward_wide(stream, task);
    return with_channels(task.sizes.dim, [&](auto channels) {
      constexpr int kChannels = decltype(channels)::value;
      return launch(stream, forward<T, kChannels>, {blocks_of(task.sizes, task.sizes.queries)}, kThreads,
                    kSharedValues<kChannels> * sizeof(T), task);
    });
  });
}

}  // namespace cones::cuda
