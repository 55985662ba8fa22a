// Long prompts in chunks, as stable-diffusion-webui cuts them (tokenize_line in its modules/sd_hijack_clip.py).
import { type ChunkToken, cutIntoChunks, MOST_CHUNKS, type Unit } from '../../lib/text/chunks';

const COMMA = 0;
const token = (id: number): ChunkToken => ({ id, weight: 1, token: `${id}` });
/** Words 1, 2, 3 …; a comma after each of `commas`. */
const words = (count: number, commas: readonly number[] = []): Unit[] =>
  Array.from({ length: count }, (_, i) => i + 1).flatMap((id) => [[token(id)], ...(commas.includes(id) ? [[token(COMMA)]] : [])]);
const cut = (units: Iterable<Unit | 'BREAK'>, room = 75) => cutIntoChunks(units, { room, comma: COMMA });
const lengths = (units: Iterable<Unit | 'BREAK'>, room = 75) => cut(units, room).chunks.map(({ length }) => length);

test('as many as it takes, and one for nothing', () => {
  expect(lengths([])).toEqual([0]);
  expect(lengths(words(75))).toEqual([75]);
  expect(lengths(words(76))).toEqual([75, 1]);
  expect(lengths(words(151))).toEqual([75, 75, 1]);
});

test.each([
  // the chunk's 75 tokens are words and one comma; what is behind it moves
  ['a comma 20 tokens back', words(80, [54]), [75, 6]], // it is the token 54 of 0 … 74: 75 − 54 = 21
  ['one nearer', words(80, [55]), [56, 25]], // 20
  ['the last token', words(80, [74]), [75, 6]],
  ['the last of several', words(80, [60, 70]), [72, 10]],
  ['behind a full chunk, which ends there: it is moved itself', words(80, [75]), [75, 6]],
])('%s', (_, units, expected) => {
  expect(lengths(units)).toEqual(expected);
});

test('moved tokens keep their order and weights', () => {
  const units = words(80, [60]).map((unit) => unit.map((one) => ({ ...one, weight: one.id })));
  const { chunks } = cut(units);
  expect(chunks.flat()).toEqual(units.flat());
  expect(chunks[1]![0]!.id).toBe(61);
});

test('BREAK ends a chunk, however short', () => {
  expect(lengths(['BREAK', ...words(2), 'BREAK', ...words(3), 'BREAK'])).toEqual([0, 2, 3]);
  expect(lengths([...words(75), 'BREAK', ...words(1)])).toEqual([75, 1]);
});

test('tokens that belong together stay together', () => {
  const own: Unit = [token(-1), token(-2), token(-3)];
  expect(lengths([...words(72), own, ...words(1)])).toEqual([75, 1]);
  expect(lengths([...words(73), own, ...words(1)])).toEqual([73, 4]);
  expect(lengths([...words(75), own])).toEqual([75, 3]);
  // unless they are longer than a chunk
  expect(lengths([[1, 2, 3, 4, 5].map(token)], 2)).toEqual([2, 2, 1]);
});

test('what does not fit is told, and no more is read than that takes', () => {
  let read = 0;
  const endless = function* (): Generator<Unit> {
    for (;;) yield [token(++read)];
  };
  const { chunks, left } = cut(endless(), 10);
  expect(chunks).toHaveLength(MOST_CHUNKS);
  expect(chunks.flat().map(({ id }) => id)).toEqual(Array.from({ length: 10 * MOST_CHUNKS }, (_, i) => i + 1));
  expect(left[0]!.id).toBe(10 * MOST_CHUNKS + 1);
  expect(read).toBeLessThan(10 * MOST_CHUNKS + 100);
});
