import { fromNative, toConesError } from '../../lib/native';

/** An error as the addon makes it: a plain Error with a code. */
const nativeError = (code: unknown, message: string) => Object.assign(new Error(message), { code });

describe('toConesError', () => {
  test('keeps a known code and the message, and the original as its cause', () => {
    const cause = nativeError('CONES_TENSOR_MISSING', 'conv_in.weight is missing.');
    expect(toConesError(cause)).toMatchObject({
      name: 'ConesError', code: 'CONES_TENSOR_MISSING', message: 'conv_in.weight is missing.', cause,
    });
  });

  test('turns an abort into an AbortError', () => {
    expect(toConesError(nativeError('CONES_ABORTED', 'Stopped.'))).toMatchObject({
      name: 'AbortError', code: 'CONES_ABORTED', message: 'Stopped.',
    });
  });

  test.each([
    ['no code', new Error('odd')],
    ['an unknown code', nativeError('EIO', 'odd')],
    ['a code that is a property of every object', nativeError('toString', 'odd')],
    ['a code that is not a string', nativeError(5, 'odd')],
    ['a thrown string', 'odd'],
  ])('calls %s a bug', (_, error) => {
    expect(toConesError(error)).toMatchObject({ code: 'CONES_INTERNAL', message: 'odd' });
  });

  test('survives nothing being thrown', () => {
    expect(toConesError(undefined)).toMatchObject({ code: 'CONES_INTERNAL', message: 'undefined' });
  });

  test('leaves a ConesError as it is', () => {
    const error = toConesError(nativeError('CONES_IO', 'message'));
    expect(toConesError(error)).toBe(error);
  });
});

describe('fromNative', () => {
  test('passes a result through', async () => {
    await expect(fromNative(() => Promise.resolve(7))).resolves.toBe(7);
  });

  test('converts a rejection', async () => {
    await expect(fromNative(() => Promise.reject(nativeError('CONES_OUT_OF_MEMORY', 'Too big.')))).rejects.toMatchObject({
      name: 'ConesError', code: 'CONES_OUT_OF_MEMORY', message: 'Too big.',
    });
  });

  test('converts what the call throws at once', async () => {
    const dispose = () => {
      throw nativeError('CONES_DISPOSED', 'Gone.');
    };
    await expect(fromNative(dispose)).rejects.toMatchObject({ name: 'ConesError', code: 'CONES_DISPOSED' });
  });
});
