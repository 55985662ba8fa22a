// The CPU backend: fp32 throughout, loops over a pool of threads, inner loops per instruction set (kernels/). Each entry lies in
// the file of its op's name.
//
// Results are bit-identical whatever the number of threads and whoever else is in the batch.
#pragma once

#include <functional>

#include "base/threads.h"
#include "device/backend.h"

namespace cones {

struct Kernels;  // kernels/kernels.h

class Cpu final : public Backend {
 public:
  Cpu(std::shared_ptr<ThreadPool> pool, const Kernels* kernels) : Cpu(std::move(pool), kernels, false, nullptr) {}

  int threads() const { return pool_->threads(); }
  const Kernels& kernels() const { return *kernels_; }
  /// ThreadPool::run; nothing while planning. All computing goes through this and parallel().
  void run(index_t count, const std::function<void(index_t, int)>& task) const;
  /// Splits [0, count) into ranges of at least `grain` and runs f(begin, end, lane) on the pool. Where an op is long, ranges are many:
  /// an abort waits for one of them.
  void parallel(index_t count, index_t grain, const std::function<void(index_t, index_t, int)>& f) const;

  const char* name() const override { return "cpu"; }
  DType activation() const override { return DType::f32; }
  std::shared_ptr<const Backend> planner() const override;
  std::shared_ptr<const Backend> watching(const std::atomic<bool>* aborted) const override;
  float gradient_scale(index_t) const override { return 1; }

  PreparedRef prepare_linear(const Context&, const Parameter& weight, const Parameter* bias) const override;
  PreparedRef prepare_conv2d(const Context&, const Parameter& weight, const Parameter* bias) const override;
  PreparedRef prepare_mask(const Context&, index_t n, index_t k, std::span<const std::uint32_t> zeroed) const override;
  PreparedRef prepare_allowed(const Context&, index_t n, index_t k, std::span<const std::uint32_t> allowed) const override;

  Tensor linear_forward(const Context&, const Tensor& x, const Prepared& weights, index_t out, const Tensor* residual,
                        DType dtype) const override;
  Tensor linear_backward_input(const Context&, const Tensor& dy, const Prepared& weights, index_t in,
                               const Tensor& onto) const override;
  Tensor kv_project_forward(const Context&, const Tensor& x, const KvOperand& weights, index_t out) const override;
  Tensor kv_project_backward_input(const Context&, const Tensor& dy, const KvOperand& weights, index_t in,
                                   const Tensor& onto) const override;
  Tensor outer(const Context&, const Tensor& dy, const Tensor& x) const override;
  Tensor column_sums(const Context&, const Tensor& x, index_t rows_per_group) const override;
  Tensor bias_gradient(const Context&, const Tensor& dy) const override;
  Tensor conv2d_forward(const Context&, const Tensor& x, const Prepared& weights, const Conv2dOptions&, const Shape& out,
                        const Tensor* residual, const Tensor* group_bias, DType dtype) const override;
  Tensor conv2d_backward_input(const Context&, const Tensor& dy, const Prepared& weights, const Conv2dOptions&,
                               const Shape& in) const override;
  Tensor conv2d_backward_weight(const Context&, const Tensor& dy, const Tensor& x, const Shape& weight,
                                const Conv2dOptions&) const override;
  Tensor attention_forward(const Context&, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions&,
                           Tensor* logsumexp) const override;
  void attention_backward(const Context&, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                          const Tensor& logsumexp, const AttentionOptions&, Tensor* dq, Tensor* dk, Tensor* dv) const override;

  Tensor group_norm_forward(const Context&, const Tensor& x, const Tensor& weight, const Tensor& bias, const GroupNormOptions&,
                            Tensor* statistics) const override;
  void group_norm_backward(const Context&, const Tensor& dy, const Tensor& x, const Tensor& statistics, const Tensor& weight,
                           const Tensor& bias, const GroupNormOptions&, Tensor* dx, Tensor* dweight, Tensor* dbias) const override;
  Tensor layer_norm_forward(const Context&, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                            Tensor* statistics) const override;
  void layer_norm_backward(const Context&, const Tensor& dy, const Tensor& x, const Tensor& statistics, const Tensor& weight,
                           Tensor* dx, Tensor* dweight, Tensor* dbias) const override;

  void add(const Context&, const Tensor& a, const Tensor& b, const Tensor& y) const override;
  Tensor affine(const Context&, const Tensor& x, float a, float b) const override;
  Tensor activation_forward(const Context&, const Tensor& x, Activation) const override;
  Tensor activation_backward(const Context&, const Tensor& dy, const Tensor& x, Activation) const override;
  Tensor geglu_forward(const Context&, const Tensor& x) const override;
  Tensor geglu_backward(const Context&, const Tensor& dy, const Tensor& x) const override;
  Tensor cast(const Context&, const Tensor& x, DType dtype, float factor) const override;

  Tensor concat_channels_forward(const Context&, const Tensor& a, const Tensor& b) const override;
  void concat_channels_backward(const Context&, const Tensor& dy, const Shape& shape_a, const Shape& shape_b, Tensor* da,
                                Tensor* db) const override;
  Tensor upsample_nearest_forward(const Context&, const Tensor& x, index_t out_h, index_t out_w) const override;
  Tensor upsample_nearest_backward(const Context&, const Tensor& dy, const Shape& shape_x) const override;
  Tensor choose_rows_forward(const Context&, const Tensor& x, std::span<const int> source, const Tensor& rest) const override;
  Tensor choose_rows_backward(const Context&, const Tensor& dy, std::span<const int> source, const Shape& shape) const override;
  Tensor rows_gradient(const Context&, const Tensor& dy, std::span<const int> source, const Shape& shape) const override;
  void add_rows(const Context&, const Tensor& y, const Tensor& x, std::span<const int> source) const override;
  Tensor stack_rows(const Context&, std::span<const Tensor> parts) const override;
  Tensor normalize_rows(const Context&, const Tensor& x) const override;

  Tensor scale_input(const Context&, const Tensor& x, double factor) const override;
  Tensor crop_rows(const Context&, const Tensor& x, const Windows& windows) const override;
  Tensor blend_rows(const Context&, const Tensor& x, const Tensor& weights, const Windows& windows) const override;
  void solver_step(const Context&, const SolverInput&, const SolverStep&, Tensor& prediction, Tensor& next) const override;
  Tensor keep_known(const Context&, const Tensor& x, const Tensor& image, const Tensor& noise, const Tensor& mask, double image_share,
                    double noise_share) const override;

  void noised_rows(const Context&, const Tensor& moments, double latent_scale, std::span<const double> alphas_cumprod, Prediction,
                   std::span<const NoisedRow> rows, Tensor& latents, Tensor& target) const override;
  MseResult mse_loss(const Context&, const Tensor& output, const Tensor& target, std::span<const double> weights,
                     bool want_gradient) const override;
  std::vector<double> read_losses(const Context&, const MseResult&) const override;
  void adam(const Context&, const AdamStep&, const Tensor& gradient, const Tensor& values, const Tensor& first_moment,
            const Tensor& second_moment, const Tensor& finite) const override;
  void limit_norm(const Context&, const Tensor& values, double limit) const override;
  PreparedRef prepare_gamma(const Context&, const PreparedRef& weights, const Tensor& values) const override;

  Tensor search_theta(const Context&, const Parameter& weight, const PreparedRef& prepared) const override;
  PreparedRef search_gamma(const Context&, const SearchState&, const SearchCut* cut) const override;
  void search_update_outer(const Context&, const Tensor& x, const Tensor& dy, const SearchState&, const SearchUpdate&,
                           const Tensor& finite) const override;
  Tensor highest(const Context&, std::span<const RankedWeights> tensors, float per_step, std::int64_t count,
                 const Tensor& guess) const override;

 private:
  Cpu(std::shared_ptr<ThreadPool> pool, const Kernels* kernels, bool planning, const std::atomic<bool>* aborted)
      : pool_(std::move(pool)), kernels_(kernels), planning_(planning), aborted_(aborted) {}

  std::shared_ptr<ThreadPool> pool_;
  const Kernels* kernels_;
  bool planning_;
  const std::atomic<bool>* aborted_;  // of the job that this is for, may be null
};

/// The backend of a context whose tensors the CPU computes.
inline const Cpu& cpu_of(const Context& context) { return static_cast<const Cpu&>(*context.backend); }

/// The CPU with `threads` threads (the caller counts as one) and the widest instruction set that it has.
std::shared_ptr<const Backend> cpu_backend(int threads);
/// Its instruction set: "scalar", "avx2", "avx512".
const char* cpu_isa();

}  // namespace cones
