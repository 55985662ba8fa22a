import { shortened } from './util/show';

/**
 * Every error that `cones` raises on purpose is a `ConesError` with a stable `code`.
 * The native core throws the same codes (csrc/base/error.h); lib/native.ts turns them into this class.
 */
export const ERROR_CODES = {
  CONES_ABORTED: 'The job was aborted through its signal.',
  CONES_ADAPTER_INVALID: 'A file is no adapter that the engine knows, or is damaged.',
  CONES_ADAPTER_MISMATCH: 'An adapter was made for another model.',
  CONES_CHECKPOINT_INVALID: 'A checkpoint of PyTorch is damaged, or asks Python for more than weights.',
  CONES_CONCEPT_CORRUPT: 'A concept file is damaged or is not a concept file.',
  CONES_CONCEPT_MISMATCH: 'A concept was made for another base model.',
  CONES_CONFIG_INVALID: 'A config file cannot be read, or a value in it makes no sense.',
  CONES_CONFIG_UNSUPPORTED: 'A config value that the engine does not implement.',
  CONES_DEVICE_LOST: 'The GPU failed while it computed.',
  CONES_DEVICE_UNAVAILABLE: 'The device that was asked for cannot be used.',
  CONES_DISPOSED: 'The engine was used after it was disposed.',
  CONES_DOWNLOAD_FAILED: 'A download failed, or brought other bytes than the hub promises.',
  CONES_IMAGE_INVALID: 'A picture cannot be read or decoded.',
  CONES_IMAGES_MISSING: 'No pictures were given.',
  CONES_INTERNAL: 'A bug in cones.',
  CONES_IO: 'A file could not be read or written.',
  CONES_LIMIT_EXCEEDED: 'A call asks for more than the limits of this engine allow.',
  CONES_LOSS_NOT_FINITE: 'The loss, or a picture, became NaN or infinite.',
  CONES_MODEL_CHANGED: 'A weights file was written to while a loaded model needs it.',
  CONES_MODEL_GATED: 'A model on the hub is given only to those who accepted its terms, or have a token.',
  CONES_MODEL_NOT_FOUND: 'A model folder, a model on the hub, or a file that it needs, is missing.',
  CONES_NATIVE_MISSING: 'The native addon, or sharp, could not be loaded.',
  CONES_OPTION_INVALID: 'An option is missing, of the wrong type or out of range.',
  CONES_OUT_OF_MEMORY: 'The job needs more memory than there is.',
  CONES_PROMPT_EMPTY: 'The prompt is empty.',
  CONES_PICTURE_MISMATCH: 'A picture was drawn with another model, or with other concepts than are given.',
  CONES_QUEUE_FULL: 'As many calls are waiting as the engine lets in.',
  CONES_SAFETENSORS_INVALID: 'A safetensors file is truncated or its header lies.',
  CONES_SETTINGS_MISSING: 'A picture does not say how it was drawn.',
  CONES_STATE_INVALID: 'A saved search state is damaged or belongs to another search.',
  CONES_TENSOR_MISSING: 'A weight that the config asks for is missing.',
  CONES_TENSOR_SHAPE: 'A weight has another shape or type than the config asks for.',
  CONES_TENSOR_UNEXPECTED: 'A weight that the config does not ask for.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * Messages quote what they are about, a line of it at most (`brief`, `show`). This is for whoever forgot, and for the messages of
 * libraries: a file of megabytes must not become a log entry of megabytes.
 */
const LONGEST_MESSAGE = 2000;

/** An error with a stable `code` (see {@link ERROR_CODES}) and a message that says what to do. */
export class ConesError extends Error {
  override readonly name: string = 'ConesError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(shortened(message, LONGEST_MESSAGE), options);
    this.code = code;
  }
}

/** Raised when a job's `AbortSignal` fires. Its `name` is `AbortError`, as the platform's own. */
export class AbortError extends ConesError {
  override readonly name = 'AbortError';

  constructor(message = 'The job was aborted.', options?: { cause?: unknown }) {
    super('CONES_ABORTED', message, options);
  }
}
