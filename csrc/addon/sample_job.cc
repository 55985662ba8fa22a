// NativeModel.sample: the pictures of one call, step by step together with those of others.
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/model.h"
#include "addon/sampling_group.h"

namespace cones::addon {
namespace {

std::vector<SolverStep> solver_steps(const Napi::Object& o) {
  const auto flat = elements<double>(o, "steps");
  constexpr std::size_t fields = sizeof(SolverStep) / sizeof(double);
  if (flat.empty() || flat.size() % fields != 0) invalid(o.Env(), "steps must hold 8 numbers per step.");
  std::vector<SolverStep> steps;
  for (std::size_t i = 0; i < flat.size(); i += fields)
    steps.push_back({flat[i], flat[i + 1], flat[i + 2], flat[i + 3], flat[i + 4], flat[i + 5], flat[i + 6], flat[i + 7]});
  return steps;
}

}  // namespace

Napi::Value NativeModel::sample(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  LatentArguments in(o, *model(env));
  std::vector<float> negative;
  if (has(o, "negativeEmbeddings")) negative = elements<float>(o, "negativeEmbeddings");
  return run(env, o, "onStep",
             [m = model(env), group = samplings_, in = std::move(in), negative = std::move(negative), steps = solver_steps(o),
              seeds = elements<std::uint64_t>(o, "seeds"), guidance = number(o, "guidance"),
              member = std::shared_ptr<SamplingGroup::Member>()](const std::atomic<bool>& aborted,
                                                                 const Progress& progress) mutable -> std::optional<Settle> {
               if (!member) {
                 in.check_rows(seeds.size(), "seeds");
                 const bool guided = !negative.empty() && guidance != 1;
                 const auto input = [&](const Context& context) {
                   SampleInput made{.latents = in.latent_tensor(context),
                                    .embeddings = in.text_tensor(context, *m),
                                    .negative_embeddings = {},
                                    .guidance = guidance,
                                    .steps = steps,
                                    .seeds = seeds,
                                    .masks = mask_pointers(in.masks)};
                   if (guided) made.negative_embeddings = to_tensor(context, negative, in.text_shape(*m));
                   return made;
                 };
                 member = group->join(*m, {in.shape, in.tokens, guided, input}, progress, aborted);
               }
               if (!group->advance(*m, *member)) return std::nullopt;
               return [values = to_channels_first(member->sampling.latents())](Napi::Env e) mutable {
                 return hand_over(e, std::move(values));
               };
             });
}

}  // namespace cones::addon
