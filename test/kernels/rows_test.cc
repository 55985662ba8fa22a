// concat_channels, choose_rows, gather_rows, stack_rows, upsample_nearest and normalise_rows, in the emulator.
#include <deque>

#include "blend_rows.cu"
#include "choose_rows.cu"
#include "concat.cu"
#include "crop_rows.cu"
#include "gather_rows.cu"
#include "normalise_rows.cu"
#include "same_bits.h"
#include "stack_rows.cu"
#include "upsample.cu"

namespace {

using namespace cones::cuda;
using check::Guarded;
using dev::bf16;
using dev::half;

std::int64_t wide(std::size_t n) { return static_cast<std::int64_t>(n); }

template <class T>
std::vector<float> floats(Guarded<T>& v) {
  std::vector<float> out;
  for (std::size_t i = 0; i < v.size(); ++i) out.push_back(dev::to_float(v[i]));
  return out;
}

void concat(std::size_t rows, std::size_t ca, std::size_t cb, std::size_t off) {
  check::now = "concat " + std::to_string(rows) + " x " + std::to_string(ca) + " + " + std::to_string(cb);
  Guarded<half> a(check::normals<half>(rows * ca), off), b(check::normals<half>(rows * cb), off);
  std::vector<float> want;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < ca; ++c) want.push_back(dev::to_float(a[r * ca + c]));
    for (std::size_t c = 0; c < cb; ++c) want.push_back(dev::to_float(b[r * cb + c]));
  }
  check::each_order([&] {
    Guarded<half> y(rows * (ca + cb), off), da(rows * ca, off), db(rows * cb, off);
    check::expect(concat_channels_forward(nullptr, {wide(rows), wide(ca), wide(cb), a.data(), b.data(), y.data()}) == 0, "rc");
    check::expect_bits(y, want, "y");
    concat_channels_backward(nullptr, {wide(rows), wide(ca), wide(cb), y.data(), da.data(), nullptr});
    concat_channels_backward(nullptr, {wide(rows), wide(ca), wide(cb), y.data(), nullptr, db.data()});
    check::expect_bits(da, floats(a), "da");
    check::expect_bits(db, floats(b), "db");
    Guarded<half> da2(rows * ca, off), db2(rows * cb, off);
    concat_channels_backward(nullptr, {wide(rows), wide(ca), wide(cb), y.data(), da2.data(), db2.data()});
    check::expect_bits(da2, floats(a), "da with db");
    check::expect_bits(db2, floats(b), "db with da");
  });
}

/// A list by value or in device memory.
RowList list_of(const std::vector<std::int32_t>& rows, bool device) {
  RowList list{wide(rows.size()), device ? rows.data() : nullptr, {}};
  for (std::int32_t& v : list.values) v = 1 << 30;
  for (std::size_t i = 0; !device && i < rows.size(); ++i) list.values[i] = rows[i];
  return list;
}

template <class T>
void choose(std::size_t x_rows, std::vector<std::int32_t> source, std::size_t row, bool rest_wanted, std::size_t off) {
  check::now = "choose " + std::to_string(source.size()) + " x " + std::to_string(row);
  Guarded<T> x(check::normals<T>(x_rows * row), off), rest(check::normals<T>(source.size() * row), off),
      dy(check::normals<T>(source.size() * row), off);
  std::vector<float> want, sums(x_rows * row);
  for (std::size_t b = 0; b < source.size(); ++b) {
    if (!rest_wanted && source[b] < 0) source[b] = 0;
    for (std::size_t c = 0; c < row; ++c) {
      const std::size_t s = static_cast<std::size_t>(source[b] < 0 ? 0 : source[b]) * row + c;
      want.push_back(dev::to_float(source[b] < 0 ? rest[b * row + c] : x[s]));
      if (source[b] >= 0) sums[s] += dev::to_float(dy[b * row + c]);
    }
  }
  for (const bool device : {true, false})
    check::each_order([&] {
      if (!device && source.size() > 256) return;
      const RowList list = list_of(source, device);
      Guarded<T> y(source.size() * row, off), dx(x_rows * row, off);
      const int rc = choose_rows_forward(nullptr, {wide(row), x.data(), rest_wanted ? rest.data() : nullptr, y.data(), list});
      check::expect(rc == 0, "rc");
      check::expect_bits(y, want, "y");
      check::expect(choose_rows_backward(nullptr, {check::type_of<T>, wide(x_rows), wide(row), dy.data(), dx.data(), list}) == 0, "rc");
      check::expect_bits(dx, sums, "dx");
    });
}

template <class T>
void gather(const std::vector<std::int32_t>& indices, std::size_t row, std::size_t off) {
  check::now = "gather " + std::to_string(indices.size()) + " x " + std::to_string(row);
  Guarded<T> x(check::normals<T>(20 * row), off);
  std::vector<float> want;
  for (const std::int32_t i : indices)
    for (std::size_t c = 0; c < row; ++c) want.push_back(dev::to_float(x[static_cast<std::size_t>(i) * row + c]));
  for (const bool device : {true, false})
    check::each_order([&] {
      if (!device && indices.size() > 256) return;
      Guarded<T> y(indices.size() * row, off);
      check::expect(gather_rows(nullptr, {sizeof(T), wide(row), x.data(), y.data(), list_of(indices, device)}) == 0, "rc");
      check::expect_bits(y, want, "y");
    });
}

template <class T>
void stack(const std::vector<std::size_t>& sizes, std::size_t off) {
  check::now = "stack " + std::to_string(sizes.size());
  std::deque<Guarded<T>> parts;
  std::vector<float> want;
  StackRowsArgs args{sizeof(T), static_cast<int>(sizes.size()), nullptr, {}, {}};
  for (const std::size_t n : sizes) {
    parts.emplace_back(check::normals<T>(n + 16), off);  // what follows a source must not be copied
    for (std::size_t i = 0; i < n; ++i) want.push_back(dev::to_float(parts.back()[i]));
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) args.source[i] = parts[i].data(), args.size[i] = wide(sizes[i]);
  check::each_order([&] {
    Guarded<T> y(want.size(), off);
    args.y = y.data();
    check::expect(stack_rows(nullptr, args) == 0, "rc");
    check::expect_bits(y, want, "y");
  });
}

// Windows cut out of pictures, and put back where they were: each picture is taken apart position by position.
void windows(std::int64_t pictures, std::int64_t height, std::int64_t width, std::int64_t channels, const WindowList& w) {
  check::now = "windows " + std::to_string(w.regions) + " of " + std::to_string(height) + " x " + std::to_string(width);
  const auto at = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const std::int64_t positions = height * width, seen = w.height * w.width;
  const std::vector<float> x = check::normals<float>(at(pictures * positions * channels));
  const std::vector<float> outputs = check::normals<float>(at(pictures * w.regions * seen * channels));
  const std::vector<float> weights = check::normals<float>(at(pictures * w.regions * positions));
  std::vector<float> cropped;
  std::vector<double> sums(at(pictures * positions * channels));
  for (std::int64_t p = 0; p < pictures; ++p)
    for (std::int64_t r = 0; r < w.regions; ++r)
      for (std::int64_t i = 0; i < seen; ++i) {
        const std::int64_t position = (w.top[r] + i / w.width) * width + w.left[r] + i % w.width;
        const double weight = static_cast<double>(weights[at((p * w.regions + r) * positions + position)]);
        for (std::int64_t c = 0; c < channels; ++c) {
          cropped.push_back(x[at((p * positions + position) * channels + c)]);
          sums[at((p * positions + position) * channels + c)] += weight * static_cast<double>(outputs[at(((p * w.regions + r) * seen + i) * channels + c)]);
        }
      }
  const std::vector<float> blended(sums.begin(), sums.end());
  check::each_order([&] {
    Guarded<float> in(x), rows(cropped.size()), out(outputs), of(weights), y(blended.size());
    check::expect(crop_rows(nullptr, {pictures, height, width, channels, sizeof(float), w, in.data(), rows.data()}) == 0, "rc");
    check::expect_bits(rows, cropped, "rows");
    check::expect(blend_rows(nullptr, {pictures, height, width, channels, w, out.data(), of.data(), y.data()}) == 0, "rc");
    check::expect_bits(y, blended, "y");
  });
}

struct Sizes {
  std::int64_t batch, height, width, channels, out_height, out_width;
};
template <class T>
void upsample(const Sizes& s, std::size_t off) {
  check::now = "upsample " + std::to_string(s.height) + " x " + std::to_string(s.width) + " to " + std::to_string(s.out_height) +
               " x " + std::to_string(s.out_width);
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const std::size_t in = size(s.batch * s.height * s.width * s.channels);
  const std::size_t out = size(s.batch * s.out_height * s.out_width * s.channels);
  Guarded<T> x(check::normals<T>(in), off), dy(check::normals<T>(out), off);
  const auto source = [](std::int64_t i, std::int64_t from, std::int64_t to) {
    const float scale = static_cast<float>(from) / static_cast<float>(to);
    return std::min(static_cast<std::int64_t>(std::floor(static_cast<float>(i) * scale)), from - 1);
  };
  std::vector<float> want(out), sums(in);
  for (std::int64_t b = 0, o = 0; b < s.batch; ++b)
    for (std::int64_t i = 0; i < s.out_height; ++i)
      for (std::int64_t j = 0; j < s.out_width; ++j)
        for (std::int64_t c = 0; c < s.channels; ++c, ++o) {
          const std::size_t at = size(((b * s.height + source(i, s.height, s.out_height)) * s.width +
                                       source(j, s.width, s.out_width)) * s.channels + c);
          want[size(o)] = dev::to_float(x[at]);
          sums[at] += dev::to_float(dy[size(o)]);
        }
  check::each_order([&] {
    Guarded<T> y(out, off), dx(in, off);
    const int rc = upsample_nearest_forward(nullptr, {check::type_of<T>, s.batch, s.height, s.width, s.channels, s.out_height,
                                                      s.out_width, x.data(), y.data()});
    check::expect(rc == 0, "rc");
    check::expect_bits(y, want, "y");
    upsample_nearest_backward(nullptr, {check::type_of<T>, s.batch, s.height, s.width, s.channels, s.out_height, s.out_width,
                                        dy.data(), dx.data()});
    check::expect_bits(dx, sums, "dx");
  });
}

template <class T>
void normalise(std::size_t rows, std::size_t channels) {
  check::now = "normalise " + std::to_string(rows) + " x " + std::to_string(channels);
  Guarded<T> x(check::normals<T>(rows * channels));
  check::each_order([&] {
    Guarded<float> y(rows * channels);
    check::expect(normalise_rows(nullptr, {check::any_type_of<T>, wide(rows), wide(channels), x.data(), y.data()}) == 0, "rc");
    check::expect(y.intact(), "wrote outside");
    for (std::size_t r = 0; r < rows; ++r) {
      double squares = 0;
      for (std::size_t c = 0; c < channels; ++c) squares += std::pow(static_cast<double>(dev::to_float(x[r * channels + c])), 2);
      for (std::size_t c = 0; c < channels; ++c) {
        const double want = static_cast<double>(dev::to_float(x[r * channels + c])) / std::sqrt(squares);
        check::expect_close(y[r * channels + c], {want, 0}, 1, "y[" + std::to_string(r) + ", " + std::to_string(c) + "]");
      }
    }
  });
}

std::vector<std::int32_t> some_rows(std::size_t n, int lowest, int end) {
  std::vector<std::int32_t> rows(n);
  for (std::int32_t& r : rows) r = std::uniform_int_distribution<int>(lowest, end - 1)(check::random);
  return rows;
}

}  // namespace

int main() {
  concat(1, 8, 16, 0);
  concat(67, 24, 8, 0);
  concat(5, 6, 10, 0);
  concat(5, 7, 3, 0);
  concat(5, 8, 5, 0);
  concat(5, 5, 8, 0);
  concat(3, 8, 8, 1);
  concat(3, 8, 8, 2);

  choose<half>(3, {2, 0, 2, -1, 2}, 24, true, 0);
  choose<bf16>(3, {0, 0, -1, 1}, 2504, true, 0);
  choose<half>(2, some_rows(7, 0, 2), 13, false, 0);
  choose<bf16>(4, some_rows(256, -1, 4), 8, true, 0);
  choose<half>(4, some_rows(308, -1, 4), 8, true, 1);
  choose<half>(5000, {4999, 3}, 2, false, 0);  // more rows than grid.y
  choose<half>(4, some_rows(5000, -1, 4), 1, true, 0);

  gather<half>({19, 0, 7}, 768, 0);
  gather<bf16>({5}, 13, 0);
  gather<float>(some_rows(256, 0, 20), 10, 0);
  gather<float>({1, 1, 0}, 300, 1);
  gather<half>(some_rows(300, 0, 20), 4, 0);
  gather<half>(some_rows(5000, 0, 20), 1, 1);

  stack<half>({64}, 0);
  stack<half>({24, 8, 5008}, 0);
  stack<bf16>({3, 1, 260}, 0);
  stack<float>({3, 3, 100}, 0);
  stack<bf16>(std::vector<std::size_t>(64, 10), 1);
  stack<half>({4, 600000}, 1);  // more than the grid covers at once

  upsample<half>({2, 3, 4, 16, 6, 8}, 0);
  upsample<bf16>({1, 5, 3, 8, 7, 11}, 0);
  upsample<half>({1, 7, 6, 10, 3, 2}, 0);  // smaller
  upsample<bf16>({2, 1, 1, 3, 4, 5}, 0);
  upsample<half>({1, 9, 20, 8, 18, 40}, 1);
  upsample<half>({1, 3, 41, 8, 3, 59}, 0);  // 59 · (41 / 59) rounds below 41
  upsample<half>({1, 5000, 1, 1, 5001, 1}, 0);  // more rows than grid.y

  normalise<half>(3, 768);
  normalise<bf16>(1, 5);
  normalise<float>(2, 130);

  windows(1, 1, 1, 1, {.regions = 1, .height = 1, .width = 1, .top = {}, .left = {}});
  windows(2, 5, 7, 4, {.regions = 3, .height = 3, .width = 4, .top = {0, 2, 1}, .left = {3, 0, 1}});
  windows(1, 400, 500, 3, {.regions = 2, .height = 400, .width = 300, .top = {}, .left = {0, 200}});  // more than the grid covers at once

  check::now = "invalid";
  check::expect(stack_rows(nullptr, {2, 65, nullptr, {}, {}}) == kInvalid, "65 sources");
  check::expect(gather_rows(nullptr, {2, 8, nullptr, nullptr, {257, nullptr, {}}}) == kInvalid, "257 rows by value");
  return check::done();
}
