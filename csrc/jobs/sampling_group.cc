#include "jobs/sampling_group.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cones::jobs {
namespace {

constexpr double kWindow = 10;  // seconds that recent() tells of

}  // namespace

std::vector<SamplingGroup::MemberRef> SamplingGroup::members() const {
  std::vector<MemberRef> found;
  for (const auto& reference : members_)
    if (auto member = reference.lock()) found.push_back(std::move(member));
  return found;
}

std::shared_ptr<SamplingGroup::Member> SamplingGroup::join(const Model& model, const Drawing& drawing, Stepped stepped,
                                                           const std::atomic<bool>& aborted, std::shared_ptr<std::atomic<bool>> shared) {
  drawing.check_rows(drawing.seeds.size(), "seeds");
  const DrawingSize size = drawing.size();
  const auto alike = [&](const Member& other) { return other.sampling.size() == size.seen(); };
  std::vector<DrawingSize> together{size};
  index_t rows = 0;  // of a picture of each
  std::size_t held = 0;
  double used = 0;
  for (bool first = true; const auto& other : members()) {
    rows += other->size.rows_per_picture();
    used = std::exchange(first, false) ? other->used : std::min(used, other->used);
    if (!alike(*other)) continue;
    together.push_back(other->size);
    held += other->held;
  }
  if (rows > 0 && rows + size.rows_per_picture() > kMostRows) throw NotNow("CONES_INTERNAL", "Enough drawings are under way.");
  // The most tensors to a row, and so the most memory, come first.
  std::ranges::stable_sort(together, {}, &DrawingSize::rows_per_picture);
  const Plan all = plan_together(model, together);
  // Later it may have a step to itself, of more rows than a shared one.
  const Plan alone = together.size() > 1 ? plan_together(model, {size}) : all;
  const std::size_t step = std::max(all.peak - all.held, alone.peak - alone.held);
  std::shared_ptr<void> memory = model.share_memory(all.held - held, step);
  auto member = std::make_shared<Member>(Member{.sampling = begin(model.context(&aborted), model, drawing),
                                                .stepped = std::move(stepped),
                                                .aborted = &aborted,
                                                .shared = std::move(shared),
                                                .size = size,
                                                .held = all.held - held,
                                                .memory = std::move(memory),
                                                .used = used});
  std::erase_if(members_, [](const auto& reference) { return reference.expired(); });
  members_.push_back(member);
  return member;
}

std::size_t SamplingGroup::held() const {
  std::size_t bytes = 0;
  for (const auto& member : members()) bytes += member->held;
  return bytes;
}

/// Those whose turn it is: who has had least, and all who fit in its UNet call; in that order.
std::vector<SamplingGroup::MemberRef> SamplingGroup::next() const {
  std::vector<MemberRef> found = members();
  std::erase_if(found, [](const MemberRef& member) { return member->sampling.finished() || member->aborted->load(); });
  std::ranges::stable_sort(found, {}, [](const MemberRef& member) { return member->used; });
  if (!found.empty())
    std::erase_if(found, [size = found[0]->sampling.size()](const MemberRef& member) { return member->sampling.size() != size; });
  return found;
}

std::vector<Sampling::Part> SamplingGroup::deal(const std::vector<MemberRef>& together, index_t busy) {
  std::vector<Sampling::Part> parts;
  for (const MemberRef& member : together) parts.push_back({&member->sampling, together.size() == 1 ? member->sampling.available() : 0});
  const auto has_more = [](const Sampling::Part& part) { return part.pictures < part.sampling->available(); };
  for (index_t rows = 0; rows < kMostRows && std::ranges::any_of(parts, has_more);) {
    if (rows >= busy && !std::ranges::all_of(parts, has_more)) break;
    const index_t before = rows;
    for (Sampling::Part& part : parts) {
      const index_t more = part.sampling->rows_per_picture();
      if (!has_more(part) || rows + more > kMostRows) continue;
      ++part.pictures;
      rows += more;
    }
    if (rows + 2 > kMostRows || rows == before) break;  // nor would a round more be whole, or have anybody's picture
  }
  std::erase_if(parts, [](const Sampling::Part& part) { return part.pictures == 0; });
  return parts;
}

bool SamplingGroup::advance(const Model& model, Member& caller) {
  if (caller.sampling.finished()) return true;
  const std::vector<MemberRef> together = next();
  if (together.empty()) return false;
  const bool own = together.size() == 1 && together[0].get() == &caller;
  *caller.shared = !own;
  // From here on an abort of the caller does not wait for the step (Job::unstoppable): one that came before ends it now.
  if (caller.aborted->load()) fail("CONES_ABORTED", "The job was aborted.");
  const std::vector<Sampling::Part> parts = deal(together, model.options().place.lanes);
  index_t rows = 0;
  for (const auto& [sampling, pictures] : parts) rows += pictures * sampling->rows_per_picture();
  std::vector<std::size_t> before;
  for (const MemberRef& member : together) before.push_back(member->sampling.steps_done());

  const double begin = clock_();
  try {
    // One that is aborted must not end the others' step.
    const Context context = model.context(together.size() == 1 ? together[0]->aborted : nullptr);
    Sampling::advance(context, model.unet(), parts);
    context.memory->device().finish();  // so that the time is told
  } catch (const Error&) {
    if (own || together.size() > 1 || !together[0]->aborted->load()) throw;
  }
  const double end = clock_();
  for (std::size_t i = 0; i < together.size(); ++i) {
    Member& member = *together[i];
    const auto part = std::ranges::find(parts, &member.sampling, &Sampling::Part::sampling);
    if (part == parts.end()) continue;
    member.used += (end - begin) * static_cast<double>(part->pictures * member.size.rows_per_picture()) / static_cast<double>(rows);
    if (member.sampling.steps_done() > before[i]) member.stepped(member.sampling);
  }
  note(end, rows);
  return caller.sampling.finished();
}

void SamplingGroup::note(double now, index_t rows) {
  std::lock_guard lock(mutex_);
  taken_.push_back({now, rows});
  while (taken_.front().at < now - kWindow) taken_.pop_front();
}

SamplingGroup::Recent SamplingGroup::recent() const {
  const double now = clock_();
  std::lock_guard lock(mutex_);
  double steps = 0, rows = 0;
  for (const Taken& step : taken_)
    if (step.at >= now - kWindow) {
      ++steps;
      rows += static_cast<double>(step.rows);
    }
  return {steps / kWindow, steps > 0 ? rows / steps : 0};
}

}  // namespace cones::jobs
