/** Memory of what comes before a search or a training, told in advance: pictures are encoded, prior pictures encoded or drawn. */
import { planDrawing } from '../../engine/batch-size';
import { encodeGroup, latentSize, nativeSize } from '../../engine/pictures';
import type { Session } from '../../engine/session';
import { PRIOR_BATCH } from './prior';

/** Numbers of pictures. */
interface Pictures {
  readonly images: number;
  /** Prior pictures, given or drawn. */
  readonly priors: number;
  /** Of the given ones, those of one subject. Default: they are drawn. */
  readonly priorImages?: number | undefined;
}

/** Bytes at most, of `available`. */
export function bytesOfPreparing(session: Session, { images, priors, priorImages }: Pictures, available: () => number): number {
  const size = nativeSize(session);
  const encoding = (pictures: number) => session.model.planEncode(encodeGroup(pictures, size), size.height, size.width);
  if (priors === 0) return encoding(images);
  const drawing = { most: PRIOR_BATCH, guided: true, latent: latentSize(session, size.height, size.width), decoded: false };
  return Math.max(encoding(images), priorImages ? encoding(priorImages) : planDrawing(session, drawing, available()).bytes);
}
