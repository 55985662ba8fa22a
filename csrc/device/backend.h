// What a device computes: one entry per op and direction. csrc/ops checks shapes, records gradients and calls these;
// csrc/cpu and cuda/ have them under the same file names. Shapes, formulas and sources are told in csrc/ops/<op>.h, once.
//
// Entries allocate their results and their scratch from the context's memory. A planning backend allocates the same and
// computes nothing, so memory is known before a job runs: planner() is the only place that knows what planning is.
//
// Tensors are of type activation() unless an entry says otherwise; gradients of activations carry context.gradient_scale,
// gradients of parameters (fp32) do not.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/parameter.h"
#include "device/context.h"
#include "device/options.h"
#include "device/ranking.h"

namespace cones {

/// Weights, a mask or γ as a backend's kernels read them. Only the backend that made it looks inside.
struct Prepared {
  virtual ~Prepared() = default;
};
using PreparedRef = std::shared_ptr<const Prepared>;

/// The K-V weights that a projection reads: y_b = x_b (M_b ⊙ W)ᵀ, or x γᵀ.
struct KvOperand {
  const Prepared* weights = nullptr;      // of prepare_linear
  std::span<const Prepared* const> masks;  // of prepare_mask, one per batch row, null for none; empty: none at all
  const Prepared* gamma = nullptr;         // of search_gamma: instead of weights, for all rows
};

/// What a search holds of one K-V tensor W [N, K], each [N, K] fp32 but theta, which is as the backend keeps W.
struct SearchState {
  PreparedRef weights;                        // of prepare_linear
  Tensor theta;                               // of search_theta
  Tensor displacement;                        // 1 − ξ
  Tensor first_moment, second_moment, score;  // the moments only with Adam
  PreparedRef allowed;                        // of prepare_allowed, null: all weights
  index_t first = 0;                          // the place of the first of these weights among all that are searched
};

/// Which weights of a search are shut (device/ranking.h).
struct SearchCut {
  Tensor last;         // of highest
  float per_step = 0;  // of the displacement
};

struct MseResult {
  Tensor means;     // of each row, to be read by read_losses
  Tensor finite;    // whether the loss is: search_update_outer and adam do nothing where it is not
  Tensor gradient;  // undefined unless wanted
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu", "cuda", "cuda-emulated".
  virtual const char* name() const = 0;
  /// The type of activations and of their gradients.
  virtual DType activation() const = 0;
  /// The same backend on a device that is not there.
  virtual std::shared_ptr<const Backend> planner() const = 0;
  /// The same backend for one job: once `aborted` (may be null) is set, its entries throw CONES_ABORTED, also in the middle of their
  /// work. Null where entries never take long.
  virtual std::shared_ptr<const Backend> watching(const std::atomic<bool>*) const { return nullptr; }
  /// A power of two for the gradients of a loss over `row` elements per sample, so that 16 bits hold them: 1 in fp32.
  virtual float gradient_scale(index_t row) const = 0;

  // ---- weights ----
  /// W [N, K] (or a 1×1 convolution's [N, K, 1, 1]) and bias [N] or null. The parameters must outlive the result.
  virtual PreparedRef prepare_linear(const Context&, const Parameter& weight, const Parameter* bias) const = 0;
  /// W [O, I, kh, kw] and bias [O] or null.
  virtual PreparedRef prepare_conv2d(const Context&, const Parameter& weight, const Parameter* bias) const = 0;
  /// M of W [n, k]: `zeroed` are sorted flat indices, row-major, each below n·k.
  virtual PreparedRef prepare_mask(const Context&, index_t n, index_t k, std::span<const std::uint32_t> zeroed) const = 0;
  /// The weights of W [n, k] that a search may change.
  virtual PreparedRef prepare_allowed(const Context&, index_t n, index_t k, std::span<const std::uint32_t> allowed) const = 0;

  // ---- products ----
  virtual Tensor linear_forward(const Context&, const Tensor& x, const Prepared& weights, index_t out, const Tensor* residual,
                                DType dtype) const = 0;
  virtual Tensor linear_backward_input(const Context&, const Tensor& dy, const Prepared& weights, index_t in,
                                       const Tensor& onto) const = 0;
  virtual Tensor kv_project_forward(const Context&, const Tensor& x, const KvOperand& weights, index_t out) const = 0;
  virtual Tensor kv_project_backward_input(const Context&, const Tensor& dy, const KvOperand& weights, index_t in,
                                           const Tensor& onto) const = 0;
  /// dyᵀ x: the weight gradient [N, K], fp32, of a linear layer for x [M, K], dy [M, N].
  virtual Tensor outer(const Context&, const Tensor& dy, const Tensor& x) const = 0;
  /// [M / rows_per_group, N] for x [M, N].
  virtual Tensor column_sums(const Context&, const Tensor& x, index_t rows_per_group) const = 0;
  /// The gradient [N], fp32, of a bias for dy [M, N].
  virtual Tensor bias_gradient(const Context&, const Tensor& dy) const = 0;
  virtual Tensor conv2d_forward(const Context&, const Tensor& x, const Prepared& weights, const Conv2dOptions&, const Shape& out,
                                const Tensor* residual, const Tensor* group_bias, DType dtype) const = 0;
  virtual Tensor conv2d_backward_input(const Context&, const Tensor& dy, const Prepared& weights, const Conv2dOptions&,
                                       const Shape& in) const = 0;
  virtual Tensor conv2d_backward_weight(const Context&, const Tensor& dy, const Tensor& x, const Shape& weight,
                                        const Conv2dOptions&) const = 0;
  virtual Tensor attention_forward(const Context&, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions&,
                                   Tensor* logsumexp) const = 0;
  virtual void attention_backward(const Context&, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& out, const Tensor& logsumexp, const AttentionOptions&, Tensor* dq, Tensor* dk,
                                  Tensor* dv) const = 0;

  // ---- normalisation; weight and bias [C] and statistics are fp32 ----
  virtual Tensor group_norm_forward(const Context&, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                    const GroupNormOptions&, Tensor* statistics) const = 0;
  virtual void group_norm_backward(const Context&, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                   const Tensor& weight, const Tensor& bias, const GroupNormOptions&, Tensor* dx, Tensor* dweight,
                                   Tensor* dbias) const = 0;
  virtual Tensor layer_norm_forward(const Context&, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                                    Tensor* statistics) const = 0;
  virtual void layer_norm_backward(const Context&, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                   const Tensor& weight, Tensor* dx, Tensor* dweight, Tensor* dbias) const = 0;

  // ---- elementwise ----
  /// Into `y`, which may be a or b.
  virtual void add(const Context&, const Tensor& a, const Tensor& b, const Tensor& y) const = 0;
  virtual Tensor affine(const Context&, const Tensor& x, float a, float b) const = 0;
  virtual Tensor activation_forward(const Context&, const Tensor& x, Activation) const = 0;
  virtual Tensor activation_backward(const Context&, const Tensor& dy, const Tensor& x, Activation) const = 0;
  virtual Tensor geglu_forward(const Context&, const Tensor& x) const = 0;
  virtual Tensor geglu_backward(const Context&, const Tensor& dy, const Tensor& x) const = 0;
  /// factor · x as another type; x itself where nothing changes.
  virtual Tensor cast(const Context&, const Tensor& x, DType dtype, float factor) const = 0;

  // ---- rows and channels ----
  virtual Tensor concat_channels_forward(const Context&, const Tensor& a, const Tensor& b) const = 0;
  virtual void concat_channels_backward(const Context&, const Tensor& dy, const Shape& shape_a, const Shape& shape_b, Tensor* da,
                                        Tensor* db) const = 0;
  virtual Tensor upsample_nearest_forward(const Context&, const Tensor& x, index_t out_h, index_t out_w) const = 0;
  virtual Tensor upsample_nearest_backward(const Context&, const Tensor& dy, const Shape& shape_x) const = 0;
  virtual Tensor choose_rows_forward(const Context&, const Tensor& x, std::span<const int> source, const Tensor& rest) const = 0;
  virtual Tensor choose_rows_backward(const Context&, const Tensor& dy, std::span<const int> source, const Shape& shape) const = 0;
  /// The same as the gradient of a parameter, fp32.
  virtual Tensor rows_gradient(const Context&, const Tensor& dy, std::span<const int> source, const Shape& shape) const = 0;
  /// y[r] += x[source[r]] for rows with source[r] ≥ 0; y [R, D], x [U, D].
  virtual void add_rows(const Context&, const Tensor& y, const Tensor& x, std::span<const int> source) const = 0;
  /// All `parts` (of one type, any) one after the other along the first dimension.
  virtual Tensor stack_rows(const Context&, std::span<const Tensor> parts) const = 0;
  /// Each row scaled to length 1, fp32.
  virtual Tensor normalize_rows(const Context&, const Tensor& x) const = 0;

  // ---- sampling: latents and predictions are fp32 ----
  /// factor · x.
  virtual Tensor scale_input(const Context&, const Tensor& x, double factor) const = 0;
  /// What each of R regions of a picture sees of it: windows of one size, which begin at these rows and columns of the latents.
  struct Windows {
    index_t height, width;
    std::vector<std::array<index_t, 2>> corners;  // [R]

    index_t regions() const { return static_cast<index_t>(corners.size()); }
  };
  /// Windows of x [P, h, w, C], picture by picture: [P·R, height, width, C], of x's type.
  virtual Tensor crop_rows(const Context&, const Tensor& x, const Windows& windows) const = 0;
  /// Outputs of one picture's regions as one: at every position y[p] = Σ_r weights[p·R + r] ⊙ x[p·R + r] over the windows that have it, for
  /// x [P·R, height, width, C] and weights [P·R, h, w] → y [P, h, w, C], all fp32. In fp64, in the order of the regions.
  virtual Tensor blend_rows(const Context&, const Tensor& x, const Tensor& weights, const Windows& windows) const = 0;
  struct SolverInput {
    Tensor x;       // [B, h, w, C]
    std::array<Tensor, SolverStep::kPrevious> previous;  // predictions [B, h, w, C], the latest first; undefined: none, or not wanted
    Tensor output;  // the UNet's [B, h, w, C], or [2B, h, w, C] with guidance: negative prompts' rows first; fp32
    bool guided = false;
    double guidance = 1;
    // Guidance by a picture, too (InstructPix2Pix): output [3B, h, w, C], without the picture, with it, with it and the prompt;
    // o = o_0 + image_guidance·(o_1 − o_0) + guidance·(o_2 − o_1).
    bool by_picture = false;
    double image_guidance = 1;
    std::span<const std::uint64_t> seeds;  // [B]
    std::uint64_t steps_done = 0;          // which stretch of a seed's noise this step takes
  };
  virtual void solver_step(const Context&, const SolverInput&, const SolverStep&, Tensor& prediction, Tensor& next) const = 0;
  /// mask ⊙ x + (1 − mask) ⊙ (image_share·image + noise_share·noise), for x, image and noise [B, h, w, C] and mask [B, h, w, 1], all
  /// fp32: what is known of a picture, at the noise level that x has.
  virtual Tensor keep_known(const Context&, const Tensor& x, const Tensor& image, const Tensor& noise, const Tensor& mask,
                            double image_share, double noise_share) const = 0;

  // ---- training ----
  /// moments [N, h, w, 2C] fp32 → latents [rows, h, w, C] and target, fp32, of the same shape (diffusion/training_batch.h).
  virtual void noised_rows(const Context&, const Tensor& moments, double latent_scale, std::span<const double> alphas_cumprod,
                           Prediction, std::span<const NoisedRow> rows, Tensor& latents, Tensor& target) const = 0;
  /// output and target [B, ...] fp32, one weight per row (ops/mse_loss.h).
  virtual MseResult mse_loss(const Context&, const Tensor& output, const Tensor& target, std::span<const double> weights,
                             bool want_gradient) const = 0;
  /// The mean squared error of each row; zeros while planning.
  virtual std::vector<double> read_losses(const Context&, const MseResult&) const = 0;
  /// All fp32 but `gradient`; gradient may carry the gradient scale.
  virtual void adam(const Context&, const AdamStep&, const Tensor& gradient, const Tensor& values, const Tensor& first_moment,
                    const Tensor& second_moment, const Tensor& finite) const = 0;
  /// `values` [D], fp32, scaled down in place to the length `limit` where they are longer.
  virtual void limit_norm(const Context&, const Tensor& values, double limit) const = 0;

  /// γ of a K-V tensor whose weights are trained: `values` [N, K] fp32 instead of those of `weights` (prepare_linear's).
  virtual PreparedRef prepare_gamma(const Context&, const PreparedRef& weights, const Tensor& values) const = 0;

  // ---- search (concepts/search.h) ----
  virtual Tensor search_theta(const Context&, const Parameter& weight, const PreparedRef& prepared) const = 0;
  /// γ: ξ ⊙ θ, or with `cut` 0 where the weight is chosen by its displacement and then its score, and θ elsewhere.
  virtual PreparedRef search_gamma(const Context&, const SearchState&, const SearchCut* cut) const = 0;
  /// The gradient of γ for x [M, K], dy [M, N] becomes one step of the state, tile by tile as it is computed.
  virtual void search_update_outer(const Context&, const Tensor& x, const Tensor& dy, const SearchState&, const SearchUpdate&,
                                   const Tensor& finite) const = 0;
  /// The RankKey that `count` weights have or pass, in the order of device/ranking.h; with fewer positive values than `count` the one
  /// that all of those pass. By counting, so it does not depend on any order. `guess` (the last result, or undefined) changes nothing
  /// but the time.
  virtual Tensor highest(const Context&, std::span<const RankedWeights> tensors, float per_step, std::int64_t count,
                         const Tensor& guess) const = 0;
};

}  // namespace cones
