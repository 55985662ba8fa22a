/** How many pictures are drawn together, so that the memory limit holds. */
import { latentSize } from './pictures';
import type { Session } from './session';

export interface Drawing {
  /** Pictures per call, `most` or fewer. */
  readonly batchSize: number;
  /** Peak bytes above what is in use: texts, sampling loop, decoding. */
  readonly bytes: number;
}

/** The largest batch, `most` pictures or fewer, that `available` bytes hold; one picture when they hold none. */
export function planDrawing(
  session: Session,
  most: number,
  guided: boolean,
  size: { readonly width: number; readonly height: number },
  available: number,
): Drawing {
  const { model, tokenizer } = session;
  const { height, width } = latentSize(session, size.height, size.width);
  const drawing = (batchSize: number): Drawing => ({
    batchSize,
    bytes: Math.max(
      model.planText(1, tokenizer.maxLength),
      model.planSample(batchSize, height, width, tokenizer.maxLength, guided),
      model.planDecode(batchSize, height, width, available),
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
