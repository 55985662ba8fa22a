// The CUDA backend: what csrc/device/backend.h asks for, with the kernels of the CUDA library (table.h). Entries lie in the file of
// their op, <op>.cc beside the kernels' <op>.cu: .cc is the core's (any compiler, no GPU needed), .cu the library's.
//
// Activations, weights and gradients of activations have 16 bits (`type`), sums and everything else fp32 (docs/guide/gpu.md).
#pragma once

#include <atomic>
#include <atomic>
#include <memory>
#include <vector>

#include "cuda/table.h"
#include "device/backend.h"

namespace cones {

/// A card's memory and its one stream.
class CudaDevice final : public Device {
 public:
  /// CONES_DEVICE_UNAVAILABLE where the card cannot be opened. The library stays open for ever.
  static std::shared_ptr<CudaDevice> open(const cuda::Library& library, int card, const std::string& card_name);
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  bool host() const override { return false; }
  const char* name() const override { return name_.c_str(); }
  void* allocate(std::size_t size) override;
  void release(void* block) override;
  void upload(void* to, const void* from, std::size_t size) override;
  void download(void* to, const void* from, std::size_t size) override;
  void copy(void* to, const void* from, std::size_t size) override;
  void zero(void* block, std::size_t size) override;
  void finish() override;

  const cuda::Library& library() const { return library_; }
  cuda::Stream* stream() const { return stream_; }
  /// Zeros that kernels count their finished blocks in, and leave as zeros: kOuterCounters of them.
  int* counters() const { return counters_; }
  /// Bytes free and all.
  void available(std::size_t* free, std::size_t* total) const;
  /// CONES_DEVICE_LOST, from then on for ever; or CONES_INTERNAL for arguments that no kernel serves, CONES_OUT_OF_MEMORY.
  void check(int status) const;

 private:
  CudaDevice(const cuda::Library& library, int card, const std::string& card_name);
  ~CudaDevice() override;
  /// Blocks live on where JavaScript holds a mask of a model that is gone: the last of all users closes the card.
  void leave();

  std::atomic<int> users_{1};  // who opened it, and every block
  const cuda::Library& library_;
  std::string name_;
  cuda::Stream* stream_ = nullptr;
  int* counters_ = nullptr;
  /// The status of what it was lost by; 0: it is well.
  mutable std::atomic<int> lost_ = 0;
};

class Cuda final : public Backend {
 public:
  /// `device` null: a planner, which computes nothing. `type`: f16 or bf16.
  Cuda(const cuda::Library& library, std::shared_ptr<CudaDevice> device, DType type)
      : library_(library), device_(std::move(device)), type_(type) {}

  const char* name() const override { return "cuda"; }
  DType activation() const override { return type_; }
  std::shared_ptr<const Backend> planner() const override { return std::make_shared<Cuda>(library_, nullptr, type_); }
  float gradient_scale(index_t row) const override;

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
  /// Queues one call of the library; nothing on a planner. All computing goes through this.
  template <class Args>
  void launch(int (*call)(cuda::Stream*, const Args&), const Args& args) const {
    if (device_) device_->check(call(device_->stream(), args));
  }
  int* counters() const { return device_ ? device_->counters() : nullptr; }
  cuda::Type type() const { return type_ == DType::bf16 ? cuda::Type::bf16 : cuda::Type::f16; }
  /// `count` numbers of 4 bytes on the device.
  Tensor upload_words(const Context&, const void* words, index_t count) const;
  /// A weight as it is stored in its file; and as fp32.
  Tensor upload_stored(const Context&, const Parameter& parameter, const Shape& shape) const;
  Tensor upload_fp32(const Context&, const Parameter& parameter) const;
  /// Memory for partial results, undefined for none.
  Tensor scratch(const Context&, std::int64_t bytes) const;
  Tensor sums_of_columns(const Context&, const Tensor& x, index_t rows_per_group, float scale, DType dtype) const;
  cuda::RowList row_list(const Context&, std::span<const int> source, Tensor& kept) const;

  const cuda::Library& library_;
  std::shared_ptr<CudaDevice> device_;
  DType type_;
};

inline cuda::Type cuda_type(DType dtype) {
  return dtype == DType::f32 ? cuda::Type::f32 : dtype == DType::f16 ? cuda::Type::f16 : cuda::Type::bf16;
}
/// Null of a tensor that is not there.
inline float* floats(const Tensor& tensor) { return static_cast<float*>(tensor.raw()); }
inline float* floats(const Tensor* tensor) { return tensor ? floats(*tensor) : nullptr; }
inline void* raw(const Tensor* tensor) { return tensor ? tensor->raw() : nullptr; }

/// A linear layer's W [N, K], or a convolution's filters [O, taps, I], in 16 bits, with its bias.
struct CudaWeights final : Prepared {
  static const CudaWeights& of(const Prepared& prepared) { return static_cast<const CudaWeights&>(prepared); }
  Tensor weight;
  Tensor bias;  // fp32, undefined without one
};

/// One bit per weight of W [n, k]: [n, ⌈k / 32⌉] words.
struct CudaMask final : Prepared {
  static const CudaMask& of(const Prepared& prepared) { return static_cast<const CudaMask&>(prepared); }
  const std::uint32_t* bits() const { return static_cast<const std::uint32_t*>(words.raw()); }
  Tensor words;
};

/// γ as one matrix, or as θ + delta, whose sum 16 bits would round.
struct CudaGamma final : Prepared {
  static const CudaGamma& of(const Prepared& prepared) { return static_cast<const CudaGamma&>(prepared); }
  Tensor weight, delta;  // delta undefined: the weight alone
};

}  // namespace cones
