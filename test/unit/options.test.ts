import { AsyncLocalStorage } from 'node:async_hooks';
import { runInNewContext } from 'node:vm';
import { z } from 'zod';
import { conceptOption, functionOption, imageOption, parseOptions, promptOption, seedOption, signalOption } from '../../lib/util/options';
import { conceptOf } from './concept-samples';

const schema = z.strictObject({ steps: z.int().min(1).default(50), report: z.strictObject({ rows: z.int().optional() }).optional() });
const refusal = (value: unknown): unknown => {
  try {
    return parseOptions('draw', schema, value);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code} ${message}`;
  }
};

describe('parseOptions', () => {
  test('fills in defaults', () => {
    expect(parseOptions('draw', schema, {})).toEqual({ steps: 50 });
    expect(parseOptions('draw', schema, { steps: undefined })).toEqual({ steps: 50 });
    expect(parseOptions('draw', schema, { steps: 3, report: { rows: 2 } })).toEqual({ steps: 3, report: { rows: 2 } });
  });

  test.each<[unknown, RegExp]>([
    [{ steps: 0 }, /^CONES_OPTION_INVALID draw: the option steps: .*1/],
    [{ steps: '3' }, /^CONES_OPTION_INVALID draw: the option steps: /],
    [{ stpes: 3 }, /^CONES_OPTION_INVALID draw: the option stpes: /],
    [{ report: { rows: 0.5 } }, /^CONES_OPTION_INVALID draw: the option report\.rows: /],
    [{ report: { row: 1 } }, /^CONES_OPTION_INVALID draw: the option row: /],
    [undefined, /^CONES_OPTION_INVALID draw: the options: /],
    [null, /^CONES_OPTION_INVALID draw: the options: /],
    ['steps', /^CONES_OPTION_INVALID draw: the options: /],
  ])('%j names the call and the option', (value, message) => {
    expect(refusal(value)).toMatch(message);
  });
});

test.each<[z.ZodType, unknown, RegExp]>([
  [seedOption, 'x', /must be a whole number from 0/],
  [seedOption, 1.5, /int/],
  [imageOption, 5, /must be the path of a picture, or its bytes/],
  [promptOption, undefined, /must be a text, or a list/],
])('what may be several things says which (%#)', (option, value, message) => {
  expect(option.safeParse(value).error?.issues[0]?.message).toMatch(message);
});

const accepts = (option: z.ZodType, value: unknown) => option.safeParse(value).success;

test.each<[string, z.ZodType, readonly unknown[], readonly unknown[]]>([
  ['seed', seedOption, [0, 1, Number.MAX_SAFE_INTEGER, 0n, 2n ** 64n - 1n], [-1, 0.5, NaN, Infinity, 2 ** 53, -1n, 2n ** 64n, '1', null, undefined]],
  ['signal', signalOption, [undefined, new AbortController().signal, AbortSignal.abort()], [null, {}, 5, 'x']],
  ['image', imageOption, ['a.png', new Uint8Array(1), Buffer.from('x'), runInNewContext('new Uint8Array(1)'), new ArrayBuffer(1), runInNewContext('new ArrayBuffer(1)'), new Blob(['x']), new File(['x'], 'a'), new URL('file:///a.png')], ['', null, undefined, 5, {}, { size: 1 }, new Float32Array(1)]],
  ['concept', conceptOption, [conceptOf()], [undefined, null, {}, 'cat.cones', { ...conceptOf() }]],
  ['function', functionOption(), [undefined, () => 1], [null, {}, 'x', 5]],
])('%s', (_, option, good, bad) => {
  expect(good.filter((value) => !accepts(option, value))).toEqual([]);
  expect(bad.filter((value) => accepts(option, value))).toEqual([]);
});

describe('a callback', () => {
  const bound = (callback: () => unknown) => functionOption<() => void>().parse(callback)!;

  test('runs in the asynchronous context in which it was given', () => {
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const callback = context.run('of the caller', () => bound(() => seen.push(context.getStore())));
    context.run('of the addon', callback);
    callback();
    expect(seen).toEqual(['of the caller', 'of the caller']);
  });

  test('that is asynchronous, of another realm, is heard of too', async () => {
    const callback = bound(runInNewContext("async () => { throw new Error('of another realm'); }") as () => unknown);
    callback();
    await new Promise(setImmediate);
    expect(callback).toThrow('of another realm');
  });
});
