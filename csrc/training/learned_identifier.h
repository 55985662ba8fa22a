// Learned identifiers: the token embeddings behind the subjects' names descend on the loss, alone (Textual Inversion, Gal et al.
// 2022), beside K-V weights (Custom Diffusion), or beside ξ. Only captions that name a subject are encoded anew in every step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "diffusion/training_batch.h"
#include "model/clip_text.h"

namespace cones {

struct IdentifierOptions {
  std::vector<std::int32_t> tokens;  // whose embeddings are learned
  std::vector<std::vector<std::int32_t>> starts;  // each embedding starts as the mean of these tokens'
  std::vector<int> captions;         // the captions that name a subject, by their index (TrainingBatch::captions)
  std::vector<std::int32_t> ids;     // their tokens [captions, T]
  int most_rows = 1;                 // the most different ones in one batch
  double learning_rate = 5e-3;
  double norm_limit = 0;             // the embedding (of one token only) is scaled down to this length after every step; 0: it may grow
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // Adam's, PyTorch's defaults
  double weight_decay = 0;                            // above 0: AdamW
};

class LearnedIdentifier {
 public:
  /// The text encoder must outlive it. CONES_OPTION_INVALID when the options do not fit together.
  LearnedIdentifier(const Context& context, const ClipText& text, IdentifierOptions options);

  /// Text states of the batch's texts [U, T, D]: those of `batch.embeddings`, but with the embedding as it is now where a
  /// caption names a subject. Gradients of such texts are for update().
  Var encode(Tape& tape, const TrainingBatch& batch);
  /// Adam's step number `step` (from 1), after backward; none where the loss is not finite (MseResult::finite).
  void update(const Context& context, std::int64_t step, const Tensor& finite);

  /// [tokens, D], fp32
  const Tensor& embedding() const { return values_; }

  /// The state: embeddings, first and second moment.
  std::vector<std::byte> save(const Context& context) const;
  std::size_t state_size() const;
  /// CONES_STATE_INVALID when the bytes are not the state of such an identifier.
  void load(const Context& context, std::span<const std::byte> state);

 private:
  const ClipText* text_;
  IdentifierOptions options_;
  index_t length_ = 0;  // T
  Tensor values_, first_moment_, second_moment_;  // [tokens, D]
  GradientRef gradient_;                          // of values_, between encode() and update()
};

}  // namespace cones
