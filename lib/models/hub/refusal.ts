/** What a response other than the wanted one means, and what to do about it. */
import { ConesError } from '../../errors';
import { brief } from '../../util/show';
import type { HubConnection, HubResponse } from './connection';
import type { HubName } from './name';
import { Interrupted, retryAfter } from './retry';

const PASSING = [408, 425, 429, 500, 502, 503, 504];

/**
 * @param what was asked for, at the beginning of a sentence
 * @returns Interrupted where another try may help; else ConesError CONES_MODEL_GATED, CONES_MODEL_NOT_FOUND or CONES_DOWNLOAD_FAILED
 */
export function refusal(connection: HubConnection, { id, revision }: HubName, response: HubResponse, what: string): Error {
  response.body.destroy();
  const { status, header, url } = response;
  const { endpoint } = connection.settings;
  const code = header('x-error-code');
  const said = header('x-error-message');
  const answer = `${brief(url.host)} answers ${status}${said === undefined ? '' : ` (${brief(said)})`}`;
  if (code === 'GatedRepo') {
    const token = connection.hasToken ? 'with the account of your token' : 'and give the token of your account (hf auth login, or HF_TOKEN)';
    return new ConesError('CONES_MODEL_GATED', `${id} is given only to those who accepted its terms: accept them at ${endpoint}/${id}, ${token}, then try again.`);
  }
  if (code === 'RepoNotFound') {
    return new ConesError('CONES_MODEL_NOT_FOUND', `${endpoint} has no model ${id}, or it is private: check the name; for a private one give a token that may read it (hf auth login, or HF_TOKEN).`);
  }
  if (code === 'RevisionNotFound') return new ConesError('CONES_MODEL_NOT_FOUND', `${id} has no branch, tag or commit ${brief(revision)}: see ${endpoint}/${id}/tree/main.`);
  if (code === 'EntryNotFound' || status === 404) return new ConesError('CONES_MODEL_NOT_FOUND', `${what} is not there: ${answer}. Check the name, and HF_ENDPOINT.`);
  if (status === 401 || status === 403) {
    const next = connection.hasToken ? 'Log in again (hf auth login), or check HF_TOKEN.' : `Give a token (hf auth login, or HF_TOKEN), and see ${endpoint}/${id}.`;
    return new ConesError('CONES_MODEL_GATED', `${what} is refused: ${answer}. ${next}`);
  }
  const failure = `${what} cannot be downloaded: ${answer}`;
  if (PASSING.includes(status)) return new Interrupted(failure, { waitMs: retryAfter(header('retry-after')) });
  return new ConesError('CONES_DOWNLOAD_FAILED', `${failure}. Check HF_ENDPOINT, or try again later.`);
}
