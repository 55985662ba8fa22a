#include "addon/sampling_group.h"

#include <utility>

namespace cones::addon {
namespace {

// Larger batches gain nothing more (docs/optimisation-log.md): who comes later waits, and the first are done sooner.
constexpr index_t kMostRows = 16;

}  // namespace

std::vector<std::shared_ptr<SamplingGroup::Member>> SamplingGroup::others(const Member* but) const {
  std::vector<std::shared_ptr<Member>> found;
  for (const auto& reference : members_)
    if (auto member = reference.lock(); member && member.get() != but) found.push_back(std::move(member));
  return found;
}

std::shared_ptr<SamplingGroup::Member> SamplingGroup::join(const Model& model, const Request& request, const Progress& progress,
                                                           const std::atomic<bool>& aborted) {
  const index_t batch = request.shape[0], height = request.shape[1], width = request.shape[2];
  const index_t rows = request.guided ? 2 * batch : batch;
  std::vector<Model::SampleRows> together{{batch, request.guided}};
  index_t under_way = 0;
  std::size_t held = 0;
  for (const auto& other : others()) {
    under_way += other->sampling.rows();
    if (other->sampling.size() != std::array{height, width, request.tokens}) continue;
    together.push_back(other->rows);
    held += other->held;
  }
  if (under_way > 0 && under_way + rows > kMostRows) throw NotNow("CONES_INTERNAL", "Enough drawings are under way.");
  const Model::SamplePlan all = model.plan_together(together, height, width, request.tokens);
  std::shared_ptr<void> memory = model.share_memory(all.held - held, all.peak - all.held);
  const Context context = model.context(&aborted);
  auto member = std::make_shared<Member>(Member{.sampling = Sampling(context, model.unet(), request.input(context)),
                                                .progress = progress,
                                                .aborted = &aborted,
                                                .rows = together[0],
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
  const auto tell = [](const Member& member) {
    member.progress.notify([step = member.sampling.steps_done()](Napi::Env e) -> std::vector<napi_value> {
      return {Napi::Number::New(e, static_cast<double>(step))};
    });
  };
  tell(caller);
  for (const auto& other : with) {
    other->ahead = true;
    tell(*other);
  }
  return caller.sampling.finished();
}

}  // namespace cones::addon
