// A GPU for tests: runs the kernels of cuda/ on a processor. One fiber per CUDA thread; warp and block operations are
// collectives: the last thread to arrive does them for all.
//
// Adversarial where the hardware leaves a choice: shared memory starts as NaN, warps run in random order, blocks in ascending or
// descending order, asynchronous copies happen as late as the rules allow. It knows nothing of speed, registers or bank conflicts, and it believes what PTX's manual
// says of fragments: one run on a card must confirm that.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#define KERNEL
#define DEVICE inline
#define LAUNCH_BOUNDS(...)
#define GRID_CONSTANT
#define UNROLL

namespace dev {

// ---- numbers ----
struct half {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};

inline float to_float(bf16 v) { return std::bit_cast<float>(std::uint32_t{v.bits} << 16); }
float to_float_slow(half v);
inline const float* half_table() {
  static const std::vector<float> table = [] {
    std::vector<float> t(1 << 16);
    for (std::uint32_t i = 0; i < t.size(); ++i) t[i] = to_float_slow(half{static_cast<std::uint16_t>(i)});
    return t;
  }();
  return table.data();
}
inline float to_float_slow(half v) {
  const std::uint32_t sign = (v.bits & 0x8000u) << 16, exponent = (v.bits >> 10) & 0x1fu, mantissa = v.bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}
inline float to_float(half v) {
  static const float* const table = half_table();
  return table[v.bits];
}
inline float to_float(float v) { return v; }

template <class T>
T from_float(float v);
template <>
inline bf16 from_float<bf16>(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<std::uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16)};
}
/// To the nearest, ties to even; beyond 65,504 + half a step infinity.
template <>
inline half from_float<half>(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(0x7fff)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // below 2⁻¹⁴: subnormal; adding ½ lets the adder round at 2⁻²⁴
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  return {static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13))};
}
template <>
inline float from_float<float>(float v) { return v; }

template <class T>
std::uint32_t pack(float low, float high) {
  return from_float<T>(low).bits | std::uint32_t{from_float<T>(high).bits} << 16;
}
struct Pair {
  float low, high;
};
template <class T>
Pair unpack(std::uint32_t word) {
  return {to_float(T{static_cast<std::uint16_t>(word)}), to_float(T{static_cast<std::uint16_t>(word >> 16)})};
}
inline float multiply(float a, float b) { return a * b; }
inline float add(float a, float b) { return a + b; }
inline float subtract(float a, float b) { return a - b; }
inline float divide(float a, float b) { return a / b; }
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float square_root(float a) { return std::sqrt(a); }
inline double multiply(double a, double b) { return a * b; }
inline double add(double a, double b) { return a + b; }
inline double subtract(double a, double b) { return a - b; }
inline double divide(double a, double b) { return a / b; }
inline double square_root(double a) { return std::sqrt(a); }
inline float exponential(float x) { return std::exp(x); }
inline float error_function(float x) { return std::erf(x); }
inline float hyperbolic_tangent(float x) { return std::tanh(x); }
inline float log2(float x) { return std::log2(x); }
inline double exponential(double x) { return std::exp(x); }
inline float exp2_fast(float x) { return x < -126 ? 0.0f : std::exp2(x); }
inline bool is_finite(float x) { return std::isfinite(x); }
inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>(std::uint64_t{a} * b >> 32);
}
inline int ones(std::uint32_t bits) { return std::popcount(bits); }

// ---- fibers ----
struct Fiber {
  void* sp = nullptr;
  std::vector<char> stack;
  bool done = false;
};
struct Copy {
  void* to;
  const void* from;
  bool valid;
};
struct Collective {
  int arrived = 0, kind = 0;
  std::uint64_t round = 0;
  const void* args[1024];
};
struct Block {
  int threads, bx, by, bz, gx, gy, gz;
  std::vector<char> memory;
  char* shared;
  std::vector<Fiber> fibers;
  std::vector<Collective> warps;
  Collective all;
  std::vector<Collective> some;  // named barriers
  std::vector<std::vector<std::vector<Copy>>> groups;  // of cp.async, per thread: committed groups, the last one open
  bool lazy;
  std::mt19937 random;
};
inline Block* block;
inline int self;
inline void* scheduler_sp;
inline std::uint64_t progress;
inline std::uint64_t launches;  // since the program began: tests see that kernels really ran
inline std::mutex one_launch;   // the emulator is one GPU for all threads
inline std::vector<Fiber> idle_fibers;  // of earlier launches: their stacks cost more than a small kernel

extern "C" void emulator_switch(void** save, void* to);
asm(R"(
.text
.weak emulator_switch
emulator_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
inline void yield() { emulator_switch(&block->fibers[static_cast<std::size_t>(self)].sp, scheduler_sp); }
[[noreturn]] inline void stop(const char* what) {
  std::fprintf(stderr, "emulator: %s (block %d %d %d, thread %d)\n", what, block->bx, block->by, block->bz, self);
  std::_Exit(3);
}
/// All `count` threads of a group bring `args`; `act` runs once, for all of them.
template <class F>
void collective(Collective& c, int count, int rank, int kind, const void* args, const F& act) {
  if (c.arrived > 0 && c.kind != kind) stop("threads of one group are at different operations");
  c.kind = kind;
  c.args[rank] = args;
  const std::uint64_t round = c.round;
  if (++c.arrived == count) {
    act(c);
    c.arrived = 0;
    ++c.round;
    ++progress;
    return;
  }
  while (c.round == round) yield();
}

inline int thread() { return self; }
inline int threads() { return block->threads; }
inline int block_x() { return block->bx; }
inline int block_y() { return block->by; }
inline int block_z() { return block->bz; }
inline int grid_x() { return block->gx; }
inline int grid_y() { return block->gy; }
inline int grid_z() { return block->gz; }
inline char* shared() { return block->shared; }

inline void sync() { collective(block->all, block->threads, self, 1, nullptr, [](Collective&) {}); }
inline void sync_some(int id, int count) {
  Collective& c = block->some[static_cast<std::size_t>(id)];
  collective(c, count, c.arrived, 20 + id, nullptr, [](Collective&) {});
}
inline void fence() {}
template <class F>
void warp(int kind, const void* args, const F& act) {
  collective(block->warps[static_cast<std::size_t>(self / 32)], 32, self % 32, kind, args, act);
}
inline void sync_warp() { warp(6, nullptr, [](Collective&) {}); }

template <class V>
V shuffle_from(V v, int from) {
  struct Argument {
    V v;
    V* out;
    int from;
  };
  V out{};
  const Argument a{v, &out, from};
  warp(5, &a, [](Collective& c) {
    for (int l = 0; l < 32; ++l) {
      const Argument& x = *static_cast<const Argument*>(c.args[l]);
      *x.out = static_cast<const Argument*>(c.args[x.from])->v;
    }
  });
  return out;
}
inline float shuffle_xor(float v, int mask) { return shuffle_from(v, self % 32 ^ mask); }
inline double shuffle_xor(double v, int mask) { return shuffle_from(v, self % 32 ^ mask); }
inline std::uint32_t shuffle_xor(std::uint32_t v, int mask) { return shuffle_from(v, self % 32 ^ mask); }
inline float shuffle(float v, int lane) { return shuffle_from(v, lane); }

inline int atomic_add(int* at, int v) { return std::exchange(*at, *at + v); }
inline std::uint32_t atomic_add(std::uint32_t* at, std::uint32_t v) { return std::exchange(*at, *at + v); }

// ---- 16 bytes at once ----
struct alignas(16) Words {
  std::uint32_t w[4];
};
inline Words load_words(const void* from) {
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) stop("a load of 16 bytes is not aligned");
  Words v;
  std::memcpy(&v, from, 16);
  return v;
}
inline void store_words(void* to, const Words& v) {
  if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0) stop("a store of 16 bytes is not aligned");
  std::memcpy(to, &v, 16);
}

// ---- tensor cores ----
inline void do_copy(const Copy& c) {
  if (c.valid) {
    std::memcpy(c.to, c.from, 16);
  } else {
    std::memset(c.to, 0, 16);
  }
}
inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }
inline void copy_async(void* to, const void* from, bool valid) {
  if (!aligned16(to) || (valid && !aligned16(from))) stop("cp.async is not aligned to 16 bytes");
  if (block->lazy) {
    block->groups[static_cast<std::size_t>(self)].back().push_back({to, from, valid});
  } else {
    do_copy({to, from, valid});
  }
}
inline void copy_commit() { block->groups[static_cast<std::size_t>(self)].emplace_back(); }
template <int N>
void copy_wait() {
  auto& groups = block->groups[static_cast<std::size_t>(self)];
  while (groups.size() > N + 1u) {
    for (const Copy& c : groups.front()) do_copy(c);
    groups.erase(groups.begin());
  }
}
template <bool kTransposed>
void load_matrix(std::uint32_t (&r)[4], const void* row) {
  struct Argument {
    std::uint32_t* r;
    const void* row;
  };
  const Argument a{r, row};
  if (!aligned16(row)) stop("ldmatrix row is not aligned to 16 bytes");
  warp(kTransposed ? 3 : 2, &a, [](Collective& c) {
    for (int m = 0; m < 4; ++m)
      for (int lane = 0; lane < 32; ++lane) {
        std::uint16_t v[2];
        for (int i = 0; i < 2; ++i) {
          const int row_i = kTransposed ? lane % 4 * 2 + i : lane / 4, column = kTransposed ? lane / 4 : lane % 4 * 2 + i;
          v[i] = static_cast<const std::uint16_t*>(static_cast<const Argument*>(c.args[m * 8 + row_i])->row)[column];
        }
        static_cast<const Argument*>(c.args[lane])->r[m] = v[0] | std::uint32_t{v[1]} << 16;
      }
  });
}
inline void load_matrix4(std::uint32_t (&r)[4], const void* row) { load_matrix<false>(r, row); }
inline void load_matrix4_t(std::uint32_t (&r)[4], const void* row) { load_matrix<true>(r, row); }
template <class T>
void mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  struct Argument {
    float* c;
    const std::uint32_t* a;
    std::uint32_t b[2];
  };
  const Argument argument{c, a, {b0, b1}};
  warp(4, &argument, [](Collective& co) {
    float A[16][16], B[16][8], C[16][8];
    const auto value = [](std::uint32_t w, int i) { return to_float(T{static_cast<std::uint16_t>(w >> (16 * i))}); };
    for (int lane = 0; lane < 32; ++lane) {
      const Argument& x = *static_cast<const Argument*>(co.args[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 2; ++i) {
        A[g][2 * t + i] = value(x.a[0], i);
        A[g + 8][2 * t + i] = value(x.a[1], i);
        A[g][2 * t + 8 + i] = value(x.a[2], i);
        A[g + 8][2 * t + 8 + i] = value(x.a[3], i);
        B[2 * t + i][g] = value(x.b[0], i);
        B[2 * t + 8 + i][g] = value(x.b[1], i);
        C[g][2 * t + i] = x.c[i];
        C[g + 8][2 * t + i] = x.c[2 + i];
      }
    }
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < 16; ++k)
        for (int j = 0; j < 8; ++j) C[i][j] += A[i][k] * B[k][j];
    for (int lane = 0; lane < 32; ++lane) {
      const Argument& x = *static_cast<const Argument*>(co.args[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 2; ++i) {
        x.c[i] = C[g][2 * t + i];
        x.c[2 + i] = C[g + 8][2 * t + i];
      }
    }
  });
}

// ---- launches ----
inline const std::function<void()>* body;
inline void fiber_main() {
  (*body)();
  block->fibers[static_cast<std::size_t>(self)].done = true;
  yield();
}

/// How the next launches choose where the hardware may: `lazy` copies, the order of warps, and that of blocks, which
/// CONES_CUDA_EMULATED_DESCENDING in the environment turns round for programs that know nothing of the emulator.
inline bool lazy_copies = true;
inline unsigned order_seed = 7;
inline bool descending_blocks = std::getenv("CONES_CUDA_EMULATED_DESCENDING") != nullptr;

/// Called before and after each launch, where there is device memory that only kernels may touch (emulated_device.h).
inline void (*begin_work)() = nullptr;
inline void (*end_work)() = nullptr;

inline void launch(int gx, int gy, int gz, int threads, std::size_t shared_bytes, const std::function<void()>& f) {
  const std::lock_guard lock(one_launch);
  ++launches;
  if (begin_work != nullptr) begin_work();
  body = &f;
  Block b;
  block = &b;
  b.gx = gx, b.gy = gy, b.gz = gz;
  b.threads = threads;
  b.lazy = lazy_copies;
  b.random.seed(order_seed);
  if (threads % 32 != 0 || threads > 1024) stop("a block has whole warps and at most 1024 threads");
  const auto count = static_cast<std::size_t>(threads);
  b.fibers.swap(idle_fibers);
  const std::size_t ready = b.fibers.size();
  if (ready < count) b.fibers.resize(count);
  for (std::size_t i = ready; i < count; ++i) b.fibers[i].stack.resize(32 << 10);
  b.warps.resize(count / 32);
  b.some.resize(16);
  b.memory.resize(shared_bytes + 1024);
  b.shared = reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(b.memory.data()) + 1023) / 1024 * 1024);
  const std::int64_t blocks = std::int64_t{gx} * gy * gz;
  for (std::int64_t turn = 0; turn < blocks; ++turn) {
    const std::int64_t index = descending_blocks ? blocks - 1 - turn : turn;
    b.bx = static_cast<int>(index % gx), b.by = static_cast<int>(index / gx % gy), b.bz = static_cast<int>(index / gx / gy);
    std::memset(b.shared, 0xff, shared_bytes);  // NaN wherever nothing was written
    b.groups.assign(count, std::vector<std::vector<Copy>>(1));
    for (std::size_t i = 0; i < count; ++i) {
      Fiber& fiber = b.fibers[i];
      const std::uintptr_t top = (reinterpret_cast<std::uintptr_t>(fiber.stack.data()) + fiber.stack.size()) / 16 * 16;
      void** sp = reinterpret_cast<void**>(top) - 2;
      sp[0] = reinterpret_cast<void*>(&fiber_main);
      sp[1] = nullptr;
      sp -= 6;
      std::memset(sp, 0, 48);
      fiber.sp = sp;
      fiber.done = false;
    }
    std::vector<int> order(count / 32);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    int stuck = 0;
    for (int left = threads; left > 0;) {
      std::shuffle(order.begin(), order.end(), b.random);
      const std::uint64_t before = progress;
      const int left_before = left;
      for (const int w : order) {
        // A warp runs until it makes no progress: it meets a block-wide operation or ends.
        for (std::uint64_t seen = ~0ull; seen != b.warps[static_cast<std::size_t>(w)].round;) {
          seen = b.warps[static_cast<std::size_t>(w)].round;
          for (int lane = 0; lane < 32; ++lane) {
            self = w * 32 + lane;
            Fiber& fiber = b.fibers[static_cast<std::size_t>(self)];
            if (fiber.done) continue;
            emulator_switch(&scheduler_sp, fiber.sp);
            if (fiber.done) --left;
          }
        }
      }
      stuck = progress == before && left == left_before ? stuck + 1 : 0;
      if (stuck > 200) stop("deadlock: some threads ended or wait elsewhere");
    }
  }
  block = nullptr;
  if (end_work != nullptr) end_work();
  idle_fibers.swap(b.fibers);
}

}  // namespace dev
