#include "jobs/clip_pair.h"

#include "jobs/encode_text.h"
#include "ops/transfer.h"

namespace cones::jobs {

ClipPair::ClipPair(const ClipOptions& options)
    : place_(options.place),
      memory_(Memory::create(options.memory_limit, *place_.device)),
      weights_(options.files),
      clip_(context(nullptr), weights_, options.config) {
  weights_.check_all_used({"position_ids", "logit_scale"});
}

Context ClipPair::context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .backend = place_.backend}.watching(aborted);
}

std::vector<float> ClipPair::embed_images(std::span<const float> pixels, index_t batch, const std::atomic<bool>& aborted) const {
  const Context job = context(&aborted);
  return download(job, clip_.embed_images(job, pixels, batch));
}

std::vector<float> ClipPair::embed_texts(const std::vector<std::int32_t>& ids, index_t batch, const std::atomic<bool>& aborted) const {
  const Context job = context(&aborted);
  return download(job, clip_.embed_texts(job, ids, batch, equal_rows(ids, batch)));
}

}  // namespace cones::jobs
