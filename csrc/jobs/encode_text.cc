#include "jobs/encode_text.h"

#include "base/error.h"
#include "ops/transfer.h"

namespace cones::jobs {

std::vector<float> encode_text(const Context& context, const Model& model, const TextInput& in) {
  const index_t length = equal_rows(in.ids, in.rows);
  const AdapterRows adapters = in.adapters.empty() ? AdapterRows() : AdapterRows(static_cast<std::size_t>(in.rows), in.adapters);
  Tape tape(context);
  tape.adapt(adapters);
  Var replaced;
  if (!in.replace_ids.empty())
    replaced = Var(upload(context, in.replace_rows,
                          {static_cast<index_t>(in.replace_ids.size()), model.text().config().hidden_size}));
  return download(context, model.text().forward(tape, in.ids, in.rows, length, replaced, in.replace_ids).value());
}

index_t equal_rows(const std::vector<std::int32_t>& ids, index_t rows) {
  const auto count = static_cast<index_t>(ids.size());
  if (count == 0 || count % rows != 0) fail("CONES_OPTION_INVALID", "The token ids must fill all rows equally.");
  return count / rows;
}

}  // namespace cones::jobs
