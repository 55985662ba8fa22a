/** How many pictures are drawn together, so that the memory limit holds. */
import { ConesError } from '../errors';
import type { Decoder } from './pictures';
import { type ChosenAdapter, nativeAdapters } from './adapters';
import type { Session } from './session';
import type { Size } from './windows';

export interface DrawingOptions {
  /** Pictures that may go together at most. */
  readonly most: number;
  readonly guided: boolean;
  /** Rows of the UNet for each picture, besides guidance. Default 1. */
  readonly regions?: number;
  /** What each of them sees of the latents. Default: everything. */
  readonly window?: Size;
  readonly latent: { readonly height: number; readonly width: number };
  /** Whether latents become pixels. */
  readonly decoded: boolean;
  /** By which autoencoder. Default 'own'. */
  readonly decoder?: Decoder;
  /** Whether the one for drafts decodes a picture between steps. */
  readonly previewed?: boolean;
  /** What they are drawn from besides texts: pictures are encoded first. */
  readonly edit?: { readonly known: boolean; readonly imageGuidance?: number } | undefined;
  /** Of all pictures, in any order. */
  readonly adapters?: readonly ChosenAdapter[];
  /** Text states of a picture. Default: as many as one text has. */
  readonly tokens?: number;
}

export interface Drawing {
  /** Pictures per call, `most` or fewer. */
  readonly batchSize: number;
  /** Peak bytes above what is in use: texts, sampling loop, decoding. */
  readonly bytes: number;
}

/** The largest batch, `most` pictures or fewer, that `available` bytes hold; one picture when they hold none. */
export function planDrawing(session: Session, options: DrawingOptions, available: number): Drawing {
  const { most, guided, regions = 1, latent, window = latent, decoded, decoder, previewed, edit, tokens, adapters = [] } = options;
  const { model, tokenizer } = session;
  const { height, width } = latent;
  const { downscale } = session.config.vae;
  const encoding = edit ? model.planEncode(1, height * downscale, width * downscale, available) : 0;
  // Beside what the drawing holds between its steps, which is less than its peak.
  const preview = previewed ? model.planDecode(1, height, width, available, true) : 0;
  // A picture's adapters go one after another, so that the memory is that of one of them.
  const changing = nativeAdapters(session, [...new Map(adapters.map((one) => [one.adapter, one])).values()]);
  const size = {
    ...latent,
    tokens: tokens ?? tokenizer.maxLength,
    guided,
    regions,
    window,
    byPicture: edit?.imageGuidance !== undefined,
    known: edit?.known ?? false,
    ...(changing ? { adapters: changing } : {}),
  };
  const drawing = (batchSize: number): Drawing => ({
    batchSize,
    bytes: preview + Math.max(
      model.planText(1, tokenizer.maxLength),
      encoding,
      model.planSample({ ...size, batch: batchSize }),
      decoded ? model.planDecode(batchSize, height, width, available, decoder === 'drafts') : 0,
    ),
  });
  const whole = drawing(most);
  if (whole.bytes <= available) return whole;
  // By halves: the larger the batch, the more memory.
  let best = drawing(1);
  for (let low = 2, high = most - 1; low <= high && best.bytes <= available; ) {
    const middle = Math.floor((low + high) / 2);
    const tried = drawing(middle);
    if (tried.bytes <= available) {
      best = tried;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return best;
}

/**
 * Pictures per call. The whole way to them is planned before the first step and before arrays are made for it, so that no
 * work is lost when decoding does not fit.
 * @throws ConesError CONES_OUT_OF_MEMORY
 */
export async function fittingBatch(session: Session, options: DrawingOptions, signal: AbortSignal | undefined): Promise<number> {
  const available = await session.job(signal, (abort) => session.model.availableMemory({ abort }));
  const { batchSize, bytes } = planDrawing(session, options, available);
  if (bytes <= available) return batchSize;
  const { downscale } = session.config.vae;
  const size = `${options.latent.width * downscale} × ${options.latent.height * downscale}`;
  const mib = (value: number) => `${Math.ceil(value / 2 ** 20)} MiB`;
  throw new ConesError(
    'CONES_OUT_OF_MEMORY',
    `A picture of ${size} needs ${mib(bytes)}, but the memory limit leaves ${mib(available)}. Draw a smaller picture, or raise memoryLimit.`,
  );
}
