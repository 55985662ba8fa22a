#include "jobs/token_gradient.h"

#include <algorithm>
#include <cmath>

#include "jobs/encode_text.h"
#include "ops/transfer.h"

namespace cones::jobs {
namespace {

// A power of two that brings the largest value between 1 and 2: the job is linear in the gradient it is given, which may be smaller
// than 16 bits hold. 1 in fp32.
float scale_for(const Context& context, const std::vector<float>& upstream) {
  if (context.backend->activation() == DType::f32) return 1;
  float largest = 0;
  for (const float value : upstream) largest = std::max(largest, std::abs(value));
  // The scale and its inverse are normal numbers, whatever the gradient.
  return largest > 0 && std::isfinite(largest) ? std::ldexp(1.0f, -std::clamp(std::ilogb(largest), -100, 100)) : 1;
}

std::vector<float> scaled(std::vector<float> values, float factor) {
  if (factor != 1)
    for (float& value : values) value *= factor;
  return values;
}

}  // namespace

std::vector<float> token_gradient(const Context& given, const Model& model, const TokenGradientInput& in) {
  Context context = given;
  context.gradient_scale = scale_for(context, in.upstream);
  const index_t length = equal_rows(in.ids, in.rows);
  const index_t width = model.text().config().hidden_size;
  Tape tape(context, nullptr);
  const Shape rows{static_cast<index_t>(in.tokens.size()), width};
  const Var embeddings(upload(context, model.text().token_rows(context, in.tokens), rows), true);
  const Var states = model.text().forward(tape, in.ids, in.rows, length, embeddings, in.tokens);
  Tape::accumulate(context, states.gradient(), upload(context, scaled(in.upstream, context.gradient_scale), {in.rows, length, width}));
  tape.backward();
  const Tensor& gradient = embeddings.gradient()->tensor;
  return gradient.defined() ? scaled(download(context, gradient), 1 / context.gradient_scale)
                            : std::vector<float>(in.tokens.size() * static_cast<std::size_t>(width));
}

}  // namespace cones::jobs
