// `import` gets the ES module types.
import { AbortError, ConesError, ERROR_CODES, type ErrorCode } from 'cones';

const error: ConesError = new AbortError();
const code: ErrorCode = error.code;
const meaning: string = ERROR_CODES[code];

// @ts-expect-error -- not one of the codes
new ConesError('CONES_NO_SUCH_CODE', meaning);
// @ts-expect-error -- the code cannot be changed
error.code = 'CONES_IO';
