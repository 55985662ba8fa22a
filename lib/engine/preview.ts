/**
 * Small pictures of a drawing that is under way, without the autoencoder: each latent pixel becomes a pixel by one matrix from latent
 * channels to red, green and blue. It is fitted to the model's own autoencoder when an engine first needs it, by least squares on a
 * few pictures made of colours and edges; docs/log/2026-11-28-previews.md says how good it is.
 */
import { GeneratedImage } from '../images/generated-image';
import { native } from '../native';
import { decodeLatents } from './pictures';
import type { Picture } from '../images/images';
import type { Session } from './session';

/** `rgb = offset + Σ_c weights[c] · latent_c`, in [-1, 1], for scaled latents as the UNet has them. */
export interface PreviewMatrix {
  /** [3][C + 1]: a row per colour, its offset last. */
  readonly rows: readonly (readonly number[])[];
}

/** A picture of the finished one, as small as its latents, or with an autoencoder for drafts as large as itself. */
export interface Preview {
  /** Steps done and in all. */
  readonly step: number;
  readonly steps: number;
  /** Which picture of the result's `images`. */
  readonly index: number;
  /** One pixel per latent pixel: 64 × 64 for a picture of 512; or a whole one. */
  readonly image: Picture;
}

const fitted = new WeakMap<Session, Promise<PreviewMatrix>>();

/** The engine's matrix, fitted once. */
export function previewMatrix(session: Session, signal: AbortSignal | undefined): Promise<PreviewMatrix> {
  let matrix = fitted.get(session);
  if (!matrix) {
    matrix = fit(session, signal);
    fitted.set(session, matrix);
    // Aborted, perhaps: the next one tries again.
    matrix.catch(() => fitted.delete(session));
  }
  return matrix;
}

/** @param latents one picture's, [C, h, w] */
export function previewOf({ rows }: PreviewMatrix, latents: Float32Array, width: number, height: number): Picture {
  const size = width * height;
  const data = new Uint8ClampedArray(size * 3);
  rows.forEach((weights, colour) => {
    const channels = weights.length - 1;
    for (let i = 0; i < size; i++) {
      let value = weights[channels]!;
      for (let c = 0; c < channels; c++) value += weights[c]! * latents[c * size + i]!;
      data[3 * i + colour] = (value + 1) * 127.5;
    }
  });
  return { width, height, data: new Uint8Array(data.buffer) };
}

/** Shows pictures that are under way, of a step's prediction [C, h, w]. */
export interface Previews {
  show(of: Omit<Preview, 'image'>, latents: Float32Array, size: { readonly width: number; readonly height: number }): void;
}

export function smallPreviews(matrix: PreviewMatrix, onPreview: (preview: Preview) => void): Previews {
  return { show: (of, latents, { width, height }) => onPreview({ ...of, image: previewOf(matrix, latents, width, height) }) };
}

/** Decoded by the autoencoder for drafts, one after another, between the steps. Of one that is not done yet, the next waits its turn. */
export class WholePreviews implements Previews {
  readonly #session: Session;
  readonly #onPreview: (preview: Preview) => void;
  readonly #signal: AbortSignal | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(session: Session, onPreview: (preview: Preview) => void, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#onPreview = onPreview;
    this.#signal = signal;
  }

  show(of: Omit<Preview, 'image'>, latents: Float32Array, { width, height }: { readonly width: number; readonly height: number }): void {
    const data = latents.slice();
    this.#last = this.#last.then(async () => {
      const pixels = await decodeLatents(this.#session, { data, shape: [1, this.#session.config.vae.latentChannels, height, width] }, this.#signal, 'drafts');
      const { downscale } = this.#session.config.vae;
      this.#onPreview({ ...of, image: GeneratedImage.fromPixels(pixels, width * downscale, height * downscale, {}) });
    });
    // Whoever waits for shown() hears of it.
    this.#last.catch(() => undefined);
  }

  /** All of them were. */
  shown(): Promise<void> {
    return this.#last;
  }
}

/** Pictures that it is fitted to, and the side of each in latents. */
const PICTURES = 6;
const SIDE = 16;

async function fit(session: Session, signal: AbortSignal | undefined): Promise<PreviewMatrix> {
  const { downscale, latentChannels, scalingFactor } = session.config.vae;
  const side = SIDE * downscale;
  const pixels = colours(PICTURES, side);
  const moments = await session.job(signal, (abort) => session.model.encodeImages(pixels, PICTURES, side, side, { abort }));
  const samples = PICTURES * SIDE * SIDE;
  // The posterior's mean comes first, its log-variance is left alone.
  const inputs = (sample: number): number[] => {
    const [picture, at] = [Math.floor(sample / SIDE ** 2), sample % SIDE ** 2];
    const channels = Array.from({ length: latentChannels }, (_, c) => moments[(picture * 2 * latentChannels + c) * SIDE ** 2 + at]! * scalingFactor);
    return [...channels, 1];
  };
  const wanted = averages(pixels, PICTURES, side, downscale);
  return { rows: leastSquares(samples, inputs, (sample) => [0, 1, 2].map((colour) => wanted[3 * sample + colour]!)) };
}

/** Pictures [B, side, side, 3] in [-1, 1]: slow waves of colour, with discs and stripes of others on them. Always the same. */
function colours(count: number, side: number): Float32Array {
  const normal = native().randomNormal(0n, 0, count * 64);
  const pixels = new Float32Array(count * side * side * 3);
  for (let b = 0; b < count; b++) {
    let next = b * 64;
    const random = () => normal[next++]!;
    const waves = [0, 1, 2].map(() => ({ base: random(), x: random(), y: random(), strength: random() }));
    const shapes = Array.from({ length: 5 }, () => ({ x: 0.5 + 0.3 * random(), y: 0.5 + 0.3 * random(), size: 0.1 + 0.1 * Math.abs(random()), colour: [random(), random(), random()] }));
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const [u, v] = [x / side, y / side];
        const shape = shapes.find((one, i) => (i % 2 === 0 ? Math.hypot(u - one.x, v - one.y) : Math.abs(u - one.x + v - one.y)) < one.size);
        for (let colour = 0; colour < 3; colour++) {
          const wave = waves[colour]!;
          const value = shape ? shape.colour[colour]! : wave.base + wave.strength * Math.sin(4 * (wave.x * u + wave.y * v));
          pixels[((b * side + y) * side + x) * 3 + colour] = Math.min(Math.max(0.7 * value, -1), 1);
        }
      }
    }
  }
  return pixels;
}

/** Means over squares of `factor` pixels: [B · (side / factor)², 3]. */
export function averages(pixels: Float32Array, count: number, side: number, factor: number): Float64Array {
  const small = side / factor;
  const means = new Float64Array(count * small * small * 3);
  for (let b = 0; b < count; b++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const at = (b * small + Math.floor(y / factor)) * small + Math.floor(x / factor);
        for (let c = 0; c < 3; c++) means[3 * at + c]! += pixels[((b * side + y) * side + x) * 3 + c]! / factor ** 2;
      }
    }
  }
  return means;
}

/**
 * Per output the weights w that minimise Σ (w · input − output)², by the normal equations.
 * @returns [outputs][inputs]
 */
export function leastSquares(samples: number, inputs: (sample: number) => readonly number[], outputs: (sample: number) => readonly number[]): number[][] {
  const n = inputs(0).length;
  const m = outputs(0).length;
  // [AᵀA | AᵀB], with a little on the diagonal for channels that say nothing.
  const table = Array.from({ length: n }, () => new Float64Array(n + m));
  for (let s = 0; s < samples; s++) {
    const row = inputs(s);
    const all = [...row, ...outputs(s)];
    for (let i = 0; i < n; i++) for (let j = 0; j < n + m; j++) table[i]![j]! += row[i]! * all[j]!;
  }
  for (let i = 0; i < n; i++) table[i]![i]! += 1e-9 * samples;
  // Gauss-Jordan; the matrix is positive definite, so that no pivot is zero.
  for (let p = 0; p < n; p++) {
    const pivot = table[p]!;
    for (let i = 0; i < n; i++) {
      if (i === p) continue;
      const factor = table[i]![p]! / pivot[p]!;
      for (let j = p; j < n + m; j++) table[i]![j]! -= factor * pivot[j]!;
    }
  }
  return Array.from({ length: m }, (_, o) => Array.from({ length: n }, (_unused, i) => table[i]![n + o]! / table[i]![i]!));
}
