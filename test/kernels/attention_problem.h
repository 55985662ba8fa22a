// Inputs and outputs of attention for its test: a call forward and one backward.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

#include "../../cuda/attention.h"
#include "../../cuda/launch.h"

namespace cones::cuda {

struct Case {
  int batch, heads, dim, queries, keys;
  bool causal = false;
  bool odd = false;          // tensors begin at odd addresses
  double dy_size = 1;
  int wanted = 7;            // dq 1, dk 2, dv 4
  bool logsumexp = true;
  double offset = 0;         // of q, and of −k: scores about −offset²·√d
};

/// Values between guards of NaN, which also tell when something behind an input counts.
template <class T>
class Buffer {
 public:
  Buffer(std::size_t count, bool odd) : count_(count), before_(odd ? 17 : 16), all_(count + 40) {
    std::memset(static_cast<void*>(all_.data()), 0xff, all_.size() * sizeof(T));
  }
  T* data() { return all_.data() + before_; }
  std::size_t size() const { return count_; }
  double operator[](std::size_t i) const { return dev::to_float(all_[before_ + i]); }
  bool guards_whole() const {
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (i < before_ || i >= before_ + count_)
        for (std::size_t b = 0; b < sizeof(T); ++b)
          if (reinterpret_cast<const unsigned char*>(&all_[i])[b] != 0xff) return false;
    return true;
  }
  bool untouched() const {
    for (std::size_t i = 0; i < count_ * sizeof(T); ++i)
      if (reinterpret_cast<const unsigned char*>(all_.data() + before_)[i] != 0xff) return false;
    return true;
  }
  void draw(std::mt19937& random, double size, double offset = 0) {
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < count_; ++i) data()[i] = dev::from_float<T>(static_cast<float>(offset + size * normal(random)));
  }
  bool equals(const Buffer& other, std::size_t from) {
    return std::memcmp(data() + from, const_cast<Buffer&>(other).data(), other.count_ * sizeof(T)) == 0;
  }

 private:
  std::size_t count_, before_;
  std::vector<T> all_;
};

/// Inputs and outputs of one call forward and one backward.
template <class T>
struct Problem {
  Case c;
  std::size_t channels, of_q, of_k, of_rows;
  Buffer<T> q, k, v, out, dy, dq, dk, dv;
  Buffer<float> logsumexp, scratch;
  explicit Problem(const Case& c_)
      : c(c_), channels(std::size_t(c.heads) * c.dim), of_q(c.batch * c.queries * channels), of_k(c.batch * c.keys * channels),
        of_rows(std::size_t(c.batch) * c.heads * c.queries), q(of_q, c.odd), k(of_k, c.odd), v(of_k, c.odd), out(of_q, c.odd),
        dy(of_q, c.odd), dq(of_q, c.odd), dk(of_k, c.odd), dv(of_k, c.odd), logsumexp(of_rows, false),
        scratch(std::size_t(attention_backward_scratch(c.batch, c.queries, c.keys, std::int64_t(channels), c.heads)), false) {}
  void draw(unsigned seed) {
    std::mt19937 random(seed);
    q.draw(random, 2, c.offset), k.draw(random, 1, -c.offset), v.draw(random, 1), dy.draw(random, c.dy_size);
  }
  int forward(bool with_logsumexp) {
    return attention_forward(nullptr, {kType, c.batch, c.queries, c.keys, std::int64_t(channels), c.heads, c.causal, q.data(),
                                       k.data(), v.data(), out.data(), with_logsumexp ? logsumexp.data() : nullptr});
  }
  int backward() {
    return attention_backward(nullptr, {kType, c.batch, c.queries, c.keys, std::int64_t(channels), c.heads, c.causal, dy.data(),
                                        q.data(), k.data(), v.data(), out.data(), logsumexp.data(),
                                        c.wanted & 1 ? dq.data() : nullptr, c.wanted & 2 ? dk.data() : nullptr,
                                        c.wanted & 4 ? dv.data() : nullptr, scratch.data()});
  }
  static constexpr bool kHalf = std::is_same_v<T, dev::half>;
  static constexpr Type kType = kHalf ? Type::f16 : Type::bf16;
};

}  // namespace cones::cuda
