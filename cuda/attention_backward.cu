// Gradients of attention whose heads fit registers, and the host's side of the whole backward pass.
#include "attention_gradient.cuh"

namespace cones::cuda {
namespace attention {
namespace {

/// Tokens of a tile that passes by: as many as leave registers for the sums, of which keys have two.
template <Of kOf, int kChannels>
constexpr int kOther = kChannels <= 96 ? 64 : kChannels > 128 && kOf == Of::keys ? 16 : 32;
/// Blocks that shall fit an SM's registers together, 0 leaving it to the compiler: what keeps narrow heads at three and none of
/// them from spilling on any GPU.
template <Of kOf, int kChannels>
constexpr int kBlocks = kOf == Of::keys ? (kChannels <= 40 ? 0 : 1) : (kChannels <= 48 ? 3 : 1);
/// Bytes of shared memory: own tiles, two stages of others, and the queries' statistics, which are staged if they pass by.
template <Of kOf, int kChannels>
constexpr std::size_t kShared = (2 * kRows + 4 * kOther<kOf, kChannels>) * kPitch<kChannels> * 2 +
                                3 * (kOf == Of::keys ? 2 * kOther<kOf, kChannels> : kRows) * sizeof(float);

/// For keys, either of dk and dv may be null.
template <Of kOf, class T, int kChannels>
KERNEL void LAUNCH_BOUNDS(kThreads, (kBlocks<kOf, kChannels>)) gradient(Backward<T> a) {
  constexpr int kCount = kOther<kOf, kChannels>, kTile = kCount * kPitch<kChannels>, kOwnTile = kRows * kPitch<kChannels>;
  const Work<T> w = work_of<kOf, kCount>(a);
  T* const own = reinterpret_cast<T*>(dev::shared());  // two tiles [64, kPitch]
  T* const stages = own + 2 * kOwnTile;                // two times two tiles [kCount, kPitch]
  float* const statistics = reinterpret_cast<float*>(stages + 4 * kTile);
  const auto fetch_other = [&](int j) {
    const int first = w.begin + j * kCount;
    T* const stage = stages + j % 2 * 2 * kTile;
    fetch<kCount, kChannels>(stage, w.other[0], first);
    fetch<kCount, kChannels>(stage + kTile, w.other[1], first);
    if constexpr (kOf == Of::keys) fetch_statistics<kCount>(statistics + j % 2 * 3 * kCount, a, w.at, first);
    dev::copy_commit();
  };

  fetch<kRows, kChannels>(own, w.own[0], w.first);
  fetch<kRows, kChannels>(own + kOwnTile, w.own[1], w.first);
  if constexpr (kOf == Of::queries) fetch_statistics<kRows>(statistics, a, w.at, w.first);
  fetch_other(0);
  constexpr int kValueSums = kOf == Of::keys ? kChannels / 8 : 1;
  float sum[kChannels / 8][4], value_sum[kValueSums][4];  // dq or dk, in units; dv
  clear(sum);
  clear(value_sum);
  float unit = kLeastUnit, inverse[2];
  const int tiles = (w.end - w.begin + kCount - 1) / kCount;
  for (int j = 0; j < tiles; ++j) {
    dev::copy_wait<0>();
    dev::sync();  // tile j has come for all, and nobody reads tile j − 1 any more
    if (j + 1 < tiles) fetch_other(j + 1);
    const T* const stage = stages + j % 2 * 2 * kTile;
    const float* const present = kOf == Of::keys ? statistics + j % 2 * 3 * kCount : statistics;
    float s[kCount / 8][4], g[kCount / 8][4];
    clear(s);
    clear(g);
    UNROLL
    for (int i = 0; i < kDepth<kChannels> / 16; ++i) {
      std::uint32_t rows[4];
      load_rows<kChannels>(rows, own, i);
      multiply_transposed<kCount, kChannels>(s, rows, stage, i);
      load_rows<kChannels>(rows, own + kOwnTile, i);
      multiply_transposed<kCount, kChannels>(g, rows, stage + kTile, i);
    }
    if constexpr (kOf == Of::keys) {
      unit = follow_unit<kCount>(unit, present, sum);
      inverse[0] = inverse[1] = 1.0f / unit;
    } else {
      for (int r = 0; r < 2; ++r) inverse[r] = 1.0f / statistics[2 * kRows + row_of_lane() + r * 8];
    }
    gradient_of_scores<kOf, kCount>(s, g, a.sizes, w, w.begin + j * kCount, present, inverse);
    if constexpr (kOf == Of::keys)
      if (a.dv != nullptr) multiply<kCount, kChannels>(value_sum, s, stage + kTile);
    if (kOf == Of::queries || a.dk != nullptr) multiply<kCount, kChannels>(sum, g, stage);
  }
  dev::copy_wait<0>();

  if constexpr (kOf == Of::keys) {
    if (a.dk != nullptr) store_part<kChannels>(a.dk, a.dk_parts, a, w, 0, sum, a.sizes.scale * unit);
    if (a.dv != nullptr) store_part<kChannels>(a.dv, a.dv_parts, a, w, 0, value_sum, 1.0f);
  } else {
    const float factor[2] = {a.sizes.scale / inverse[0], a.sizes.scale / inverse[1]};
    store<kChannels>(head_of(a.dq, a.sizes, a.sizes.queries, w.at), w.first, 0, sum, factor);
  }
}

template <class T>
int backward_narrow(Stream* stream, const Backward<T>& task) {
  return with_channels(task.sizes.dim, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    int status = 0;
    if (task.dq != nullptr)
      status = launch(stream, gradient<Of::queries, T, kChannels>, {blocks_of(task.sizes, task.sizes.queries)}, kThreads,
                      kShared<Of::queries, kChannels>, task);
    if (status == 0 && (task.dk != nullptr || task.dv != nullptr))
      status = launch(stream, gradient<Of::keys, T, kChannels>, {blocks_of(task.sizes, task.sizes.keys), 1, task.parts},
                      kThreads, kShared<Of::keys, kChannels>, task);
    return status;
  });
}

}  // namespace
}  // namespace attention

int attention_backward(Stream* stream, const AttentionBackwardArgs& args) {
  using namespace attention;
  if (!valid(args)) return kInvalid;
  if (args.dq == nullptr && args.dk == nullptr && args.dv == nullptr) return 0;
  return with_type(args.type, [&](auto type) {
    using T = decltype(type);
    const std::int64_t of_queries = args.batch * args.heads * args.queries, of_keys = args.batch * args.keys * args.channels;
    const auto parts = static_cast<int>(attention_backward_parts(args.queries, args.keys));
    float* const delta = args.scratch;
    float* const unit = delta + of_queries;
    float* const dk_parts = unit + of_queries;
    float* const dv_parts = dk_parts + parts * of_keys;
    const bool all_aligned = aligned(args.dy, args.q, args.k, args.v, args.out, args.dq, args.dk, args.dv);
    const Backward<T> task = {sizes_of(args, all_aligned),
                              static_cast<const T*>(args.dy), static_cast<const T*>(args.q),
                              static_cast<const T*>(args.k), static_cast<const T*>(args.v),
                              args.logsumexp, delta, unit,
                              static_cast<T*>(args.dq), static_cast<T*>(args.dk), static_cast<T*>(args.dv),
                              parts, dk_parts, dv_parts};
    int status = gradient_statistics(stream, task.sizes, task.dy, static_cast<const T*>(args.out), delta, unit);
    if (status == 0) status = task.sizes.dim > kWidestHead ? backward_wide(stream, task) : backward_narrow(stream, task);
    if (parts > 1 && status == 0 && args.dk != nullptr) status = sum_parts(stream, dk_parts, parts, of_keys, task.dk);
    if (parts > 1 && status == 0 && args.dv != nullptr) status = sum_parts(stream, dv_parts, parts, of_keys, task.dv);
    return status;
  });
}

}  // namespace cones::cuda
