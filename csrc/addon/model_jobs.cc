// NativeModel's jobs without gradients: memory, text, pictures, denoising, masks (sampling: sample_job.cc). Each copies its
// arguments, queues the work, and makes JavaScript values of the result.
#include <algorithm>
#include <cmath>
#include <span>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/mask.h"
#include "addon/model.h"
#include "base/error.h"

namespace cones::addon {
namespace {

constexpr std::int64_t kMaxSide = 1 << 14;

index_t size_of(const Napi::CallbackInfo& info, std::size_t i) {
  const double value = info[i].IsNumber() ? info[i].As<Napi::Number>().DoubleValue() : 0;
  if (!(value >= 1 && value <= static_cast<double>(kMaxSide) && value == std::floor(value)))
    invalid(info.Env(), "Sizes must be whole numbers from 1 to " + std::to_string(kMaxSide) + ".");
  return static_cast<index_t>(value);
}

// `count` rows from row b of `batch` equal ones.
std::span<const float> rows(const std::vector<float>& values, index_t b, index_t count, index_t batch) {
  if (values.size() % static_cast<std::size_t>(batch) != 0)
    fail("CONES_OPTION_INVALID", "An array of " + std::to_string(values.size()) + " elements has not " +
                                     std::to_string(batch) + " equal rows.");
  const std::size_t size = values.size() / static_cast<std::size_t>(batch);
  return std::span(values).subspan(static_cast<std::size_t>(b) * size, static_cast<std::size_t>(count) * size);
}

Settle array_result(std::vector<float> values) {
  return [values = std::move(values)](Napi::Env env) mutable { return hand_over(env, std::move(values)); };
}

}  // namespace

Napi::Value NativeModel::run(Napi::Env env, const Napi::Object& options, const char* callback_key, Work work) {
  model(env);
  return queue_->add(env,
                     {.keep = Value(),
                      .callback = callback_key ? callback(options, callback_key) : Napi::Function(),
                      .abort = abort_option(options)},
                     std::move(work));
}

Napi::Value NativeModel::available_memory(const Napi::CallbackInfo& info) {
  return run(info.Env(), options_of(info, 0), nullptr,
             [m = model(info.Env()), group = samplings_](const std::atomic<bool>&, const Progress&) -> Settle {
               // Who does not fit beside the drawings under way waits for their end.
               return [bytes = m->available_memory() + group->held()](Napi::Env env) {
                 return Napi::Number::New(env, static_cast<double>(bytes));
               };
             });
}

Napi::Value NativeModel::encode_text(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto ids = elements<std::int32_t>(info[0], "ids");
  const index_t rows = size_of(info, 1);
  const Napi::Object o = options_of(info, 2);
  std::vector<std::int32_t> replace_ids;
  std::vector<float> replace_rows;
  if (has(o, "replaceIds")) {
    replace_ids = elements<std::int32_t>(o, "replaceIds");
    replace_rows = elements<float>(o, "replaceRows");
  }
  return run(env, o, nullptr,
             [m = model(env), ids = std::move(ids), rows, replace_ids = std::move(replace_ids),
              replace_rows = std::move(replace_rows)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
               const Context context = m->context(&aborted);
               const index_t length = equal_rows(ids, rows);
               Tape tape(context);
               Var replaced;
               if (!replace_ids.empty())
                 replaced = Var(to_tensor(context, replace_rows,
                                          {static_cast<index_t>(replace_ids.size()), m->text().config().hidden_size}));
               const Var states = m->text().forward(tape, ids, rows, length, replaced, replace_ids);
               return array_result(to_vector(states.value()));
             });
}

Napi::Value NativeModel::encode_images(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto pixels = elements<float>(info[0], "pixels");
  const index_t batch = size_of(info, 1), height = size_of(info, 2), width = size_of(info, 3);
  return run(env, options_of(info, 4), nullptr,
             [m = model(env), pixels = std::move(pixels), batch, height, width](const std::atomic<bool>& aborted,
                                                                                const Progress&) -> Settle {
               const Context context = m->context(&aborted);
               const index_t pass = m->encode_pass(batch, height, width, m->available_memory());
               m->require_memory(m->plan_encode(pass, height, width));
               std::vector<float> moments;
               for (index_t b = 0; b < batch; b += pass) {
                 Tape tape(context);
                 const Shape shape{std::min(pass, batch - b), height, width, m->vae().config().in_channels};
                 const Tensor pictures = to_tensor(context, rows(pixels, b, shape[0], batch), shape);
                 const auto some = to_channels_first(m->vae().encode(tape, Var(pictures)).value());
                 moments.insert(moments.end(), some.begin(), some.end());
               }
               return array_result(std::move(moments));
             });
}

Napi::Value NativeModel::decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto latents = elements<float>(info[0], "latents");
  const index_t batch = size_of(info, 1), height = size_of(info, 2), width = size_of(info, 3);
  return run(env, options_of(info, 4), nullptr,
             [m = model(env), latents = std::move(latents), batch, height, width](const std::atomic<bool>& aborted,
                                                                                  const Progress&) -> Settle {
               const Context context = m->context(&aborted);
               const index_t pass = m->decode_pass(batch, height, width, m->available_memory());
               m->require_memory(m->plan_decode(pass, height, width));
               std::vector<float> pixels;
               for (index_t b = 0; b < batch; b += pass) {
                 Tape tape(context);
                 const Shape shape{std::min(pass, batch - b), height, width, m->vae().config().latent_channels};
                 const Tensor some_latents = to_channels_last(context, rows(latents, b, shape[0], batch), shape);
                 const Tensor some = m->vae().decode(tape, Var(some_latents)).value();
                 pixels.insert(pixels.end(), some.data(), some.data() + some.size());
               }
               return array_result(std::move(pixels));
             });
}

Napi::Value NativeModel::denoise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = options_of(info, 0);
  return run(env, o, nullptr,
             [m = model(env), in = LatentArguments(o, *model(env)), timesteps = elements<double>(o, "timesteps")](
                 const std::atomic<bool>& aborted, const Progress&) -> Settle {
               const Context context = m->context(&aborted);
               in.check_rows(timesteps.size(), "timesteps");
               m->require_memory(m->plan_denoise(in.shape[0], in.shape[1], in.shape[2], in.tokens));
               Tape tape(context);
               const KvView view{.masks = mask_pointers(in.masks)};
               const TextKv text = m->unet().project_text(tape, Var(in.text_tensor(context, *m)), view);
               const Var output = m->unet().forward(tape, {.latents = Var(in.latent_tensor(context)),
                                                           .timesteps = timesteps, .text = text, .view = view});
               return array_result(to_channels_first(output.value()));
             });
}

Napi::Value NativeModel::create_mask(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return run(env, Napi::Object::New(env), nullptr,
             [m = model(env), indices = index_lists(info[0], "indices")](const std::atomic<bool>& aborted,
                                                                         const Progress&) -> Settle {
               auto mask = std::make_shared<const ModelMask>(
                   ModelMask{m, ConceptMask(m->context(&aborted), m->unet().kv_tensors(), indices)});
               return [mask](Napi::Env e) { return NativeMask::make(e, mask); };
             });
}

}  // namespace cones::addon
