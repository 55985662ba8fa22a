import { reason, show } from '../../lib/util/show';

test.each([
  ['a "b"', '"a \\"b\\""'], [5n, '5n'], [NaN, 'NaN'], [null, 'null'], [[1, 'a'], "[ 1, 'a' ]"], [Symbol('s'), 'Symbol(s)'],
  [Object.create(null), '[Object: null prototype] {}'], [{ toString: null, [Symbol.toPrimitive]: 5 }, '{ toString: null, [Symbol(Symbol.toPrimitive)]: 5 }'],
])('shows a value', (value, text) => expect(show(value)).toBe(text));

test('runs nothing of a value', () => {
  const fail = () => { throw new Error('ran'); };
  const hostile = { toString: fail, toJSON: fail, [Symbol.for('nodejs.util.inspect.custom')]: fail, get a() { return fail(); } };
  expect(show(hostile)).toMatch(/^\{ toString: /);
  expect(show(new Proxy({}, { get: fail, ownKeys: fail, getPrototypeOf: fail }))).toBe('{}');
});

test.each([['x'.repeat(1e6)], [new Float64Array(1e6)], [Array.from({ length: 1e5 }, () => 'abc')], [{ a: { b: { c: { d: 'deep'.repeat(100) } } } }], [new Error('x')]])(
  'is short and on one line', (value) => {
    expect(show(value).length).toBeLessThanOrEqual(80);
    expect(show(value)).not.toContain('\n');
  });

test.each([[new Error('broken'), 'broken'], [{ message: 'no Error' }, 'no Error'], ['text', 'text'], [Symbol('s'), 'Symbol(s)'], [{ message: 5 }, '{ message: 5 }']])(
  'what was thrown', (cause, text) => expect(reason(cause)).toBe(text));
