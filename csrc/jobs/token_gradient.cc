#include "jobs/token_gradient.h"

#include "jobs/encode_text.h"
#include "jobs/upstream.h"
#include "ops/transfer.h"

namespace cones::jobs {
std::vector<float> token_gradient(const Context& given, const Model& model, const TokenGradientInput& in) {
  Context context = given;
  context.gradient_scale = upstream_scale(context, in.upstream);
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
