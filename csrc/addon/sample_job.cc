// NativeModel.sample: the pictures of one call.
#include "jobs/sample.h"

#include <memory>

#include "addon/adapter.h"
#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/model.h"

namespace cones::addon {
namespace {

std::vector<SolverStep> solver_steps(const Napi::Object& o) {
  const auto flat = elements<double>(o, "steps");
  constexpr std::size_t fields = sizeof(SolverStep) / sizeof(double);
  if (flat.empty() || flat.size() % fields != 0) invalid(o.Env(), "steps must hold 11 numbers per step.");
  std::vector<SolverStep> steps;
  for (std::size_t i = 0; i < flat.size(); i += fields)
    steps.push_back({.timestep = flat[i],
                     .input_scale = flat[i + 1],
                     .prediction_from_x = flat[i + 2],
                     .prediction_from_output = flat[i + 3],
                     .x_from_x = flat[i + 4],
                     .x_from_prediction = flat[i + 5],
                     .x_from_previous = {flat[i + 6], flat[i + 7], flat[i + 8], flat[i + 9]},
                     .noise = flat[i + 10]});
  return steps;
}

// [height, width, top and left of each]; how many values must be there is the job's to say.
Backend::Windows windows(const Napi::Object& o, const jobs::Drawing& in) {
  const auto flat = elements<std::int32_t>(o, "windows");
  if (flat.size() != static_cast<std::size_t>(2 + 2 * in.regions)) invalid(o.Env(), "windows must hold height and width, and top and left of each region.");
  Backend::Windows result{flat[0], flat[1], {}};
  bool inside = result.height >= 1 && result.width >= 1;
  for (std::size_t i = 2; i < flat.size(); i += 2) {
    inside = inside && flat[i] >= 0 && flat[i + 1] >= 0 && flat[i] + result.height <= in.shape[1] && flat[i + 1] + result.width <= in.shape[2];
    result.corners.push_back({flat[i], flat[i + 1]});
  }
  if (!inside) invalid(o.Env(), "windows must lie within the latents.");
  return result;
}

void read_known(const Napi::Object& o, jobs::Drawing& in) {
  in.known = true;
  in.image = elements<float>(o, "image");
  in.noise = elements<float>(o, "noise");
  in.repaint = elements<float>(o, "mask");
  const auto shares = elements<double>(o, "shares");
  if (shares.size() != 2 * in.steps.size()) invalid(o.Env(), "shares must hold 2 numbers per step.");
  for (std::size_t i = 0; i < shares.size(); i += 2) in.shares.push_back({shares[i], shares[i + 1]});
}

}  // namespace

Napi::Value NativeModel::sample(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info);
  jobs::Drawing in;
  if (has(o, "regions")) {
    in.regions = integer(o, "regions", 2, jobs::kMostRows);
    in.weights = elements<float>(o, "weights");
  }
  read_latents(o, *model(env), in);
  // Beside the latents the UNet may take conditions.
  in.shape = latent_shape(o, model(env)->unet().config().out_channels);
  if (in.regions > 1) in.windows = windows(o, in);
  if (has(o, "negativeEmbeddings")) in.negative = elements<float>(o, "negativeEmbeddings");
  in.adapters = adapter_rows(o, "adapters", in.shape[0], *model(env));
  in.steps = solver_steps(o);
  in.seeds = elements<std::uint64_t>(o, "seeds");
  in.guidance = number(o, "guidance");
  in.guided = !in.negative.empty() && in.guidance != 1;
  if (has(o, "conditions")) in.conditions = elements<float>(o, "conditions");
  if (has(o, "imageGuidance")) {
    in.by_picture = in.guided;
    in.image_guidance = number(o, "imageGuidance");
  }
  if (has(o, "known")) read_known(object(o, "known"), in);
  const std::int64_t every = has(o, "latentsEvery") ? integer(o, "latentsEvery", 0, 1 << 20) : 0;
  const auto steps = static_cast<std::int64_t>(in.steps.size());
  in.in_step = every > 0;
  const auto job = std::make_shared<jobs::SampleJob>(model(env), samplings_, std::move(in));
  PromiseQueue::Options options;
  options.together = samplings_.get();
  options.ready = [watched = std::weak_ptr(job)] {
    const auto own = watched.lock();
    return own && own->finished();
  };
  options.unstoppable = job->shared();
  options.waits = [](Napi::Env e, std::size_t place) -> std::vector<napi_value> {
    return {Napi::Number::New(e, 0), Napi::Number::New(e, static_cast<double>(place))};
  };
  return run(env, o, "onStep",
             [m = model(env), every, steps, job](const std::atomic<bool>& aborted, const Progress& progress) -> std::optional<Settle> {
               const auto stepped = [progress, m, every, steps](const Sampling& after) {
                 const auto step = static_cast<std::int64_t>(after.steps_done());
                 std::shared_ptr<jobs::StepLatents> latents;
                 if (every > 0 && (step % every == 0 || step == steps))
                   latents = std::make_shared<jobs::StepLatents>(jobs::step_latents(*m, after));
                 progress.notify([step, latents](Napi::Env e) -> std::vector<napi_value> {
                   std::vector<napi_value> arguments{Napi::Number::New(e, static_cast<double>(step)), e.Undefined()};
                   if (latents) {
                     arguments.push_back(hand_over(e, latents->latents.data(), latents->latents.size(), latents));
                     arguments.push_back(hand_over(e, latents->predicted.data(), latents->predicted.size(), latents));
                   }
                   return arguments;
                 });
               };
               if (!job->step(aborted, stepped)) return std::nullopt;
               return [values = job->latents()](Napi::Env e) mutable { return hand_over(e, std::move(values)); };
             },
             std::move(options));
}

}  // namespace cones::addon
