// NativeModel.sample: the pictures of one call.
#include "jobs/sample.h"

#include <memory>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/model.h"

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
  jobs::Drawing in;
  if (has(o, "regions")) {
    in.regions = integer(o, "regions", 2, 64);
    in.weights = elements<float>(o, "weights");
  }
  read_latents(o, *model(env), in);
  if (has(o, "negativeEmbeddings")) in.negative = elements<float>(o, "negativeEmbeddings");
  in.steps = solver_steps(o);
  in.seeds = elements<std::uint64_t>(o, "seeds");
  in.guidance = number(o, "guidance");
  in.guided = !in.negative.empty() && in.guidance != 1;
  return run(env, o, "onStep",
             [job = jobs::SampleJob(model(env), samplings_, std::move(in))](
                 const std::atomic<bool>& aborted, const Progress& progress) mutable -> std::optional<Settle> {
               const auto stepped = [progress](std::size_t steps) {
                 progress.notify([steps](Napi::Env e) -> std::vector<napi_value> {
                   return {Napi::Number::New(e, static_cast<double>(steps))};
                 });
               };
               if (!job.step(aborted, stepped)) return std::nullopt;
               return [values = job.latents()](Napi::Env e) mutable { return hand_over(e, std::move(values)); };
             });
}

}  // namespace cones::addon
