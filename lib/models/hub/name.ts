/** Names of models on the Hugging Face hub: `hf:organisation/model`, `hf:organisation/model@revision`. */
import { ConesError } from '../../errors';
import { show } from '../../util/show';

export interface HubName {
  /** `organisation/model`; a few old models have no organisation. */
  readonly id: string;
  /** A branch, a tag or a commit. Default `main`. */
  readonly revision: string;
}

export const HUB_PREFIX = 'hf:';

/** As the hub has them; two hyphens would be a slash in the cache. */
const SEGMENT = /^[A-Za-z0-9](?:[\w.-]{0,94}\w)?$/;
const REVISION_PART = /^\w[\w.+-]{0,199}$/;
const MOST_PARTS = 8;

export function isHubName(model: unknown): model is string {
  return typeof model === 'string' && model.startsWith(HUB_PREFIX);
}

/**
 * Reads a name, with or without `hf:`.
 * @throws ConesError CONES_OPTION_INVALID
 */
export function parseHubName(text: string): HubName {
  const name = isHubName(text) ? text.slice(HUB_PREFIX.length) : text;
  const at = name.indexOf('@');
  const [id, revision] = at < 0 ? [name, 'main'] : [name.slice(0, at), name.slice(at + 1)];
  const segments = id.split('/', 3);
  const isId = segments.length <= 2 && segments.every((segment) => SEGMENT.test(segment) && !/--|\.\./.test(segment));
  if (!isId || !isRevision(revision)) {
    throw new ConesError('CONES_OPTION_INVALID', `${show(text)} is no model on the hub. Write hf:organisation/model, with @revision for another branch, tag or commit than main.`);
  }
  return { id, revision };
}

/** Names a file below `refs/` in the cache. */
function isRevision(revision: string): boolean {
  const parts = revision.split('/', MOST_PARTS + 1);
  return parts.length <= MOST_PARTS && parts.every((part) => REVISION_PART.test(part) && !part.includes('..'));
}

const COMMIT = /^[0-9a-f]{40}$/;

/** Whether it names one state of a model for ever. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}
