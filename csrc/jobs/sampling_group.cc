#include "jobs/sampling_group.h"

#include <utility>

#include "base/error.h"

namespace cones::jobs {
namespace {

// Larger batches gain nothing more (docs/log/optimisation-log.md): who comes later waits, and the first are done sooner.
constexpr index_t kMostRows = 16;

}  // namespace

std::vector<std::shared_ptr<SamplingGroup::Member>> SamplingGroup::others(const Member* but) const {
  std::vector<std::shared_ptr<Member>> found;
  for (const auto& reference : members_)
    if (auto member = reference.lock(); member && member.get() != but) found.push_back(std::move(member));
  return found;
}

std::shared_ptr<SamplingGroup::Member> SamplingGroup::join(const Model& model, const Drawing& drawing, Stepped stepped,
                                                           const std::atomic<bool>& aborted) {
  drawing.check_rows(drawing.seeds.size(), "seeds");
  const DrawingSize size = drawing.size();
  const auto alike = [&](const Member& other) { return other.sampling.size() == std::array{size.shape[1], size.shape[2], size.tokens}; };
  std::vector<DrawingSize> together{size};
  index_t under_way = 0;
  std::size_t held = 0;
  for (const auto& other : others()) {
    under_way += other->sampling.rows();
    if (!alike(*other)) continue;
    together.push_back(other->size);
    held += other->held;
  }
  if (under_way > 0 && under_way + size.rows() > kMostRows) throw NotNow("CONES_INTERNAL", "Enough drawings are under way.");
  const Plan all = plan_together(model, together);
  std::shared_ptr<void> memory = model.share_memory(all.held - held, all.peak - all.held);
  auto member = std::make_shared<Member>(Member{.sampling = begin(model.context(&aborted), model, drawing),
                                                .stepped = std::move(stepped),
                                                .aborted = &aborted,
                                                .size = size,
                                                .held = all.held - held,
                                                .memory = std::move(memory)});
  std::erase_if(members_, [](const auto& reference) { return reference.expired(); });
  members_.push_back(member);
  return member;
}

std::size_t SamplingGroup::held() const {
  std::size_t bytes = 0;
  for (const auto& member : others()) bytes += member->held;
  return bytes;
}

bool SamplingGroup::advance(const Model& model, Member& caller) {
  if (std::exchange(caller.ahead, false)) return caller.sampling.finished();
  std::vector<std::shared_ptr<Member>> with = others(&caller);
  std::erase_if(with, [&](const auto& other) {
    return other->ahead || other->sampling.finished() || other->aborted->load() || other->sampling.size() != caller.sampling.size();
  });
  std::vector<Sampling*> together{&caller.sampling};
  for (const auto& other : with) together.push_back(&other->sampling);
  // One that is aborted must not end the others' step.
  Sampling::advance(model.context(with.empty() ? caller.aborted : nullptr), model.unet(), together);
  caller.stepped(caller.sampling);
  for (const auto& other : with) {
    other->ahead = true;
    other->stepped(other->sampling);
  }
  return caller.sampling.finished();
}

}  // namespace cones::jobs
