// The way of a job's numbers into tensors and out of them.
#include "ops/transfer.h"

#include "harness.h"

using namespace cones;
using namespace cones::test;

namespace {

std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

}  // namespace

TEST("what goes in as it is comes out as it is") {
  const Context context = make_context();
  const Tensor tensor = upload(context, counted(24), {2, 3, 4});
  EXPECT(tensor.shape() == (Shape{2, 3, 4}));
  EXPECT(download(context, tensor) == counted(24));
}

TEST("channels go last on the way in, first on the way out") {
  const Context context = make_context();
  const Tensor tensor = upload_channels_last(context, counted(24), {2, 1, 3, 4}, DType::f32);
  // [2, 4, 1, 3]: picture 0's pixel 1 has values 1, 4, 7, 10 of its four channels.
  EXPECT(download(context, tensor.slice(0, 1)) == (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  EXPECT(download_channels_first(context, tensor) == counted(24));
}

TEST("an array of another size is refused, with both sizes in the message") {
  const Context context = make_context();
  EXPECT_ERROR("CONES_OPTION_INVALID", upload(context, counted(23), {2, 3, 4}));
  EXPECT_ERROR("CONES_OPTION_INVALID", upload_channels_last(context, counted(25), {2, 1, 3, 4}, DType::f32));
  try {
    upload(context, counted(23), {2, 3, 4});
  } catch (const Error& error) {
    EXPECT(std::string(error.what()) == "An array has 23 elements; its shape [2, 3, 4] needs 24.");
  }
  EXPECT(context.memory->in_use() == 0);
}

TEST("on the host a tensor is itself, or a copy where others have it too") {
  const Context context = make_context();
  Tensor alone = upload(context, counted(6), {2, 3});
  const void* const place = alone.raw();
  EXPECT(to_host(context, std::move(alone)).raw() == place);
  const Tensor tensor = upload(context, counted(6), {2, 3}), other = tensor;
  const Tensor own = to_host(context, tensor);
  EXPECT(tensor.shared() && !own.shared() && own.raw() != tensor.raw());
  EXPECT(own.shape() == tensor.shape());
  EXPECT(download(context, own) == counted(6));
}

TEST("while planning, only memory is counted") {
  Context context = make_context();
  const Tensor real = upload_channels_last(context, counted(24), {2, 1, 3, 4}, DType::f32);
  const std::size_t bytes = context.memory->in_use();
  context = context.plan();
  const Tensor planned = upload_channels_last(context, {}, {2, 1, 3, 4}, DType::f32);
  EXPECT(context.memory->in_use() == bytes);
  const Tensor second = upload(context, {}, {24}), third = to_host(context, planned);
  EXPECT(context.memory->in_use() == 3 * bytes);
  EXPECT(download(context, second).empty());
  EXPECT(download_channels_first(context, planned).empty());
}
