/** What each region's row of the UNet sees: windows of one size, so that all rows go into one call (MultiDiffusion, Bar-Tal et al. 2023). */

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** A rectangle of the latents. */
export interface Bounds extends Size {
  readonly top: number;
  readonly left: number;
}

/** The smallest rectangle with all of a plane's weights. */
export function boundsOf(weights: Float32Array, { height, width }: Size): Bounds {
  let [top, bottom, left, right] = [height, 0, width, 0];
  weights.forEach((value, i) => {
    if (value <= 0) return;
    const [row, column] = [Math.floor(i / width), i % width];
    [top, bottom, left, right] = [Math.min(top, row), Math.max(bottom, row + 1), Math.min(left, column), Math.max(right, column + 1)];
  });
  return { top, left, height: bottom - top, width: right - left };
}

/**
 * Windows about `bounds`, as large as the largest of them and half of the picture at least: a UNet draws little in less. `tiles`: such windows
 * which cover the picture, when they are asked for. As many rows as `most`: else the windows are larger.
 */
export function placeWindows(
  bounds: readonly Bounds[],
  { latent, multiple, most, tiled }: { readonly latent: Size; readonly multiple: number; readonly most: number; readonly tiled: boolean },
): { readonly windows: Bounds[]; readonly tiles: Bounds[] } {
  const fitting = (wanted: number, all: number) => Math.min(Math.ceil(wanted / multiple) * multiple, all);
  let height = fitting(Math.max(latent.height / 2, ...bounds.map((one) => one.height)), latent.height);
  let width = fitting(Math.max(latent.width / 2, ...bounds.map((one) => one.width)), latent.width);
  const count = () => (tiled ? Math.ceil(latent.height / height) * Math.ceil(latent.width / width) : 0);
  while (bounds.length + count() > most) [height, width] = [fitting(height + 1, latent.height), fitting(width + 1, latent.width)];
  // Spread evenly from edge to edge.
  const steps = (all: number, part: number) => {
    const tiles = Math.ceil(all / part);
    return Array.from({ length: tiles }, (_, i) => (tiles === 1 ? 0 : Math.round((i * (all - part)) / (tiles - 1))));
  };
  const about = (from: number, length: number, part: number, all: number) => Math.min(Math.max(Math.floor(from + (length - part) / 2), 0), all - part);
  return {
    windows: bounds.map((one) => ({ top: about(one.top, one.height, height, latent.height), left: about(one.left, one.width, width, latent.width), height, width })),
    tiles: tiled ? steps(latent.height, height).flatMap((top) => steps(latent.width, width).map((left) => ({ top, left, height, width }))) : [],
  };
}
