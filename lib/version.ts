/** The version of this package, as concept files and pictures record it. */
// eslint-disable-next-line @typescript-eslint/no-require-imports -- a bundler takes it in; a path would lead it to the app's own
export const { version } = require('../package.json') as { readonly version: string };
