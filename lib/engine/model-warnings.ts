import type { ModelConfig } from '../models';
import type { Warning } from '../warning';

export function modelWarnings({ guessed, scheduler: { predictionType } }: ModelConfig): Warning[] {
  if (!guessed) return [];
  const other = predictionType === 'epsilon' ? 'v_prediction' : 'epsilon';
  const message = `The file does not say what its UNet predicts: ${predictionType} is assumed, as for Stable Diffusion 2.x of 768 pixels. If pictures are noise, load it with prediction: '${other}'.`;
  return [{ code: 'prediction-guessed', message }];
}
