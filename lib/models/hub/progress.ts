/** How far a download is. */
import type { ModelLicense } from './card';

/** Told by `onDownload` and `onProgress`, about ten times a second. */
export interface DownloadProgress {
  /** `organisation/model` */
  readonly model: string;
  /** What its card says: told before its weights are there. */
  readonly license: ModelLicense;
  /** Bytes that are there, those of earlier downloads among them. */
  readonly received: number;
  /** Bytes of all files that are known to be needed: configs first, then weights. */
  readonly total: number;
  /** The file that has just grown: `unet/diffusion_pytorch_model.fp16.safetensors`. */
  readonly file: string;
}

const INTERVAL_MS = 100;

export class ProgressTeller {
  readonly #about: Pick<DownloadProgress, 'model' | 'license'>;
  readonly #tell: ((progress: DownloadProgress) => void) | undefined;
  readonly #sizes = new Map<string, number>();
  readonly #lengths = new Map<string, number>();
  #told = -Infinity;

  constructor(about: Pick<DownloadProgress, 'model' | 'license'>, tell: ((progress: DownloadProgress) => void) | undefined) {
    this.#about = about;
    this.#tell = tell;
  }

  expect(files: readonly { readonly path: string; readonly size: number }[]): void {
    for (const { path, size } of files) this.#sizes.set(path, size);
  }

  update(file: string, bytes: number): void {
    this.#lengths.set(file, bytes);
    const isWhole = bytes === this.#sizes.get(file);
    const now = performance.now();
    if (this.#tell === undefined || (!isWhole && now - this.#told < INTERVAL_MS)) return;
    this.#told = now;
    this.#tell({ ...this.#about, received: sum(this.#lengths), total: sum(this.#sizes), file });
  }
}

function sum(values: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const value of values.values()) total += value;
  return total;
}
