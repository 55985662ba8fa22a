/** What may have gone differently from what a caller expects, without being an error. Codes are stable. */
export const WARNING_CODES = {
  'adapter-unused': 'A prompt asks for an adapter (<lora:…>) that is not there; the rest of it is drawn.',
  'checkpoint-failed': 'The state of a search could not be written; the search goes on.',
  'concept-unnamed': 'A concept is given, and no prompt names its identifier.',
  'cpu-fallback': 'A GPU is there and could not be used, so that the engine computes on the CPU.',
  'drawn-elsewhere': 'A picture is drawn again by another program or version, or on another instruction set, than the first time.',
  'negative-prompt-unused': 'A negative prompt is given, and guidance is off.',
  'prompt-truncated': 'A text is longer than the text encoder reads; its end is ignored.',
  'prediction-guessed': 'A model in one file does not say what its UNet predicts.',
  'search-worse': 'The held-out loss with the neurons zeroed is no better than that of the untouched model.',
  'shared-token': 'Two subjects that a prompt names are bound to one rare word, and have no learned embedding.',
  'single-picture': 'A subject has one picture only.',
  'slow-instruction-set': 'The processor has no AVX2, so that the engine computes with plain C++.',
  'unknown-identifier': 'What looks like an identifier belongs to no given concept, and is read as plain text.',
  'weighting-syntax': 'What other programs read as weights, or as a LoRA, is read as plain text.',
} as const;

export type WarningCode = keyof typeof WARNING_CODES;

export interface Warning {
  readonly code: WarningCode;
  readonly message: string;
}
