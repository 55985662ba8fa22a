// Pictures of two subjects side by side: where each of them ends up, and what fills the rest.
import sharp from 'sharp';
import { sideBySide } from '../../lib/methods/cones/compose';

/** A picture of one colour, its upper and lower quarter another, with a black square of a fifth of its side in the middle. */
async function picture(side: number, [r, g, b]: readonly number[], edge: readonly number[]): Promise<Buffer> {
  const data = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const near = (v: number) => Math.abs(v + 0.5 - side / 2) < side / 10;
      const colour = near(x) && near(y) ? [0, 0, 0] : y < side / 4 || y >= (3 * side) / 4 ? edge : [r, g, b];
      data.set(colour as number[], (y * side + x) * 3);
    }
  }
  return sharp(data, { raw: { width: side, height: side, channels: 3 } }).png().toBuffer();
}

const RED = [250, 20, 20], GREEN = [20, 250, 20], BLUE = [20, 20, 250], GREY = [128, 128, 128];

async function pixels(file: Buffer) {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  return { ...info, at: (x: number, y: number) => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)] };
}

test.each([
  [64, 64],
  [128, 128],
  [96, 64],
  [62, 50],
  [64, 96],
])('%i x %i: each in the middle of its half, at five eighths of its size', async (width, height) => {
  const file = await sideBySide(await picture(200, RED, GREY), await picture(120, GREEN, BLUE), { width, height });
  const { at, ...info } = await pixels(file);
  expect(info).toMatchObject({ width, height, channels: 3, format: 'raw' });
  const middle = Math.floor(height / 2);
  // The square of a fifth of the shorter side is an eighth of it now, so its halves reach a sixteenth from the middle.
  const inside = Math.floor(Math.min(width, height) / 16) - 2, outside = Math.ceil(Math.min(width, height) / 16) + 3;
  for (const [centre, colour] of [[width / 4, RED], [(3 * width) / 4, GREEN]] as const) {
    const x = Math.floor(centre);
    for (const [dx, dy] of [[0, 0], [inside, 0], [-inside, 0], [0, inside], [0, -inside]] as const) {
      expect(Math.max(...at(x + dx, middle + dy))).toBeLessThan(60);
    }
    for (const dx of [outside, -outside]) at(x + dx, middle).forEach((value, c) => expect(Math.abs(value - colour[c]!)).toBeLessThan(40));
  }
});

test('above and below, the first and the last row of what a half shows go on', async () => {
  const { at } = await pixels(await sideBySide(await picture(200, RED, GREY), await picture(200, GREEN, BLUE), { width: 64, height: 64 }));
  for (const y of [0, 7, 56, 63]) {
    expect(at(10, y)).toEqual(GREY);
    expect(at(50, y)).toEqual(BLUE);
  }
});

test('what is no picture is refused', async () => {
  await expect(sideBySide(Buffer.from('no'), Buffer.from('no'), { width: 8, height: 8 })).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID' });
});
