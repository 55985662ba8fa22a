#include "jobs/clip_pair.h"

#include <algorithm>

#include "base/error.h"
#include "jobs/encode_text.h"
#include "jobs/plan.h"
#include "ops/transfer.h"

namespace cones::jobs {

ClipPair::ClipPair(const ClipOptions& options)
    : place_(options.place),
      memory_limit_(options.memory_limit),
      memory_(Memory::create(options.memory_limit, *place_.device)),
      weights_(options.files),
      clip_(context(nullptr), weights_, options.config) {
  weights_.check_all_used({"position_ids", "logit_scale"});
}

Context ClipPair::context(const std::atomic<bool>* aborted) const {
  return Context{.memory = memory_, .backend = place_.backend}.watching(aborted);
}

template <class F>
std::vector<float> ClipPair::run(const std::atomic<bool>& aborted, const F& job) const {
  const std::size_t peak = plan_of(context(nullptr), job).peak, in_use = memory_->in_use();
  if (peak > memory_limit_ - std::min(in_use, memory_limit_))
    fail("CONES_OUT_OF_MEMORY", "The CLIP pair needs " + std::to_string(peak >> 20) + " MiB besides its weights, more than its memory "
                                "holds. Use a smaller batch, or free memory.");
  return job(context(&aborted));
}

std::vector<float> ClipPair::embed_images(std::span<const float> pixels, index_t batch, const std::atomic<bool>& aborted) const {
  return run(aborted, [&](const Context& job) { return download(job, clip_.embed_images(job, pixels, batch)); });
}

std::vector<float> ClipPair::embed_texts(const std::vector<std::int32_t>& ids, index_t batch, const std::atomic<bool>& aborted) const {
  return run(aborted, [&](const Context& job) { return download(job, clip_.embed_texts(job, ids, batch, equal_rows(ids, batch))); });
}

}  // namespace cones::jobs
