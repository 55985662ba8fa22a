// Lines of a stream, however it is cut into chunks.
import { linesOf } from '../../lib/util/lines';

const all = async (chunks: Iterable<Uint8Array | string>, most?: number) => {
  const lines: string[] = [];
  for await (const line of linesOf(chunks, most)) lines.push(line);
  return lines;
};

test.each([1, 2, 3, 5, 100])('chunks of %i bytes', async (size) => {
  const bytes = Buffer.from('\uFEFFa caf\u00e9\r\n\n\u{1F408} on a beach\nlast');
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  expect(await all(chunks)).toEqual(['a caf\u00e9', '', '\u{1F408} on a beach', 'last']);
});

test('an end at the end is no other line', async () => {
  expect(await all(['a\nb\n'])).toEqual(['a', 'b']);
  expect(await all([])).toEqual([]);
});

test('a line that never ends, and what is no UTF-8, are refused', async () => {
  await expect(all(['12345', '67\n'], 6)).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  expect(await all(['123456\n', '123456\n'], 6)).toEqual(['123456', '123456']);
  await expect(all([Buffer.of(0x63, 0xff, 0x0a)])).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  await expect(all([Buffer.of(0x63, 0xc3)])).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
});
