/** A model's licence, as its card says. */
import { brief } from '../../util/show';

export interface ModelLicense {
  /** `creativeml-openrail-m`, `openrail++`, `apache-2.0`; null: the card says none. */
  readonly name: string | null;
  /** Where to read it: the card's link, or else the model's page. */
  readonly link: string;
}

/** @param page the model's own, for links of its card that are relative */
export function readLicense(card: unknown, page: string): ModelLicense {
  const { license, license_name: own, license_link: link } = Object(card) as Record<string, unknown>;
  const named = license === 'other' && isText(own) ? own : Array.isArray(license) ? (license as unknown[])[0] : license;
  return { name: isText(named) ? brief(named) : null, link: isText(link) ? linkOf(link, page) : page };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}

/** A card may also link to a file beside it. */
function linkOf(link: string, page: string): string {
  if (/^https?:\/\//i.test(link) && URL.canParse(link)) return brief(link);
  return brief(`${page}/blob/main/${link.replace(/^\/+/, '')}`);
}
