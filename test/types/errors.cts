// `require` gets the CommonJS types; they are the same classes.
import cones = require('cones');

const error: Error = new cones.ConesError('CONES_IO', 'message');
if (error instanceof cones.ConesError) error.code satisfies cones.ErrorCode;

// @ts-expect-error -- a message is required
new cones.ConesError('CONES_IO');
