/**
 * What a step has at hand, combined linearly: a · x + sum_k b_k · prediction_k + noise · z, where prediction_0 is this step's and
 * prediction_k the one of k steps before. Solvers of several stages are written with it as their papers have them; the latents
 * of an earlier stage, which they go back to, need not be kept, because what was added to them since is known.
 */
export interface LinearForm {
  readonly x: number;
  readonly predictions: readonly number[];
  readonly noise?: number;
}

/** The latents as they are. */
export const LATENTS: LinearForm = { x: 1, predictions: [] };

/** The prediction of `age` steps before; 0 is this step's. */
export function prediction(age = 0): LinearForm {
  return { x: 0, predictions: [...Array<number>(age).fill(0), 1] };
}

/** sum of factor · form */
export function combine(...terms: readonly (readonly [factor: number, form: LinearForm])[]): LinearForm {
  const longest = Math.max(0, ...terms.map(([, form]) => form.predictions.length));
  const sum = (of: (form: LinearForm) => number): number => terms.reduce((total, [factor, form]) => total + factor * of(form), 0);
  return {
    x: sum((form) => form.x),
    predictions: Array.from({ length: longest }, (_, k) => sum((form) => form.predictions[k] ?? 0)),
    noise: sum((form) => form.noise ?? 0),
  };
}

/** What `form` is in the eyes of the next step, whose latents are `next` (without noise, and with some of the latents in it). */
export function seenAfter(next: LinearForm, form: LinearForm): LinearForm {
  const share = form.x / next.x;
  const { predictions } = combine([1, { ...form, x: 0 }], [-share, { ...next, x: 0 }]);
  return { x: share, predictions: [0, ...predictions] };
}

/** As a step has it. */
export function coefficients({ x, predictions, noise = 0 }: LinearForm): { xFromX: number; xFromPrediction: number; xFromPrevious: readonly number[]; noise: number } {
  const [now = 0, ...before] = predictions;
  return { xFromX: x, xFromPrediction: now, xFromPrevious: before, noise };
}
