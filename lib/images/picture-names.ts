/** Which files of a folder are pictures, by their names. */
import { ConesError } from '../errors';
import { brief } from '../util/show';

/** Read, whatever is in them (READABLE in images.ts). */
const PICTURE = /\.(?:apng|avif|gif|hei[cf]|jfif|jif|jpe|jpe?g|pjp|pjpeg|png|tiff?|webp)$/i;

/** Pictures that sharp does not read, or that are not read on purpose (SVG is a program). */
const UNREADABLE = new RegExp(
  String.raw`\.(?:bmp|cur|dds|dib|exr|eps|fits?|hdr|ico|j2k|jp2|jpf|jpx|jxl|jxr|p[bgnp]m|pcx|pfm|psb|psd|qoi|svgz?|tga|wdp|xcf|` +
    String.raw`3fr|arw|cr2|cr3|dng|erf|nef|nrw|orf|pef|raf|raw|rw2|sr2|srw|x3f)$`,
  'i',
);

/**
 * The pictures among a folder's files. Hidden files are none: macOS keeps one beside every file of some disks.
 * @throws ConesError CONES_IMAGE_INVALID when there are pictures that cannot be read, rather than leave them out
 */
export function picturesAmong(folder: string, names: readonly string[]): string[] {
  const visible = names.filter((name) => !name.startsWith('.'));
  const unreadable = visible.filter((name) => UNREADABLE.test(name));
  if (unreadable.length > 0) {
    const [first, ...more] = unreadable;
    const which = more.length > 0 ? `${brief(first!)} and ${more.length} more are pictures` : `${brief(first!)} is a picture`;
    throw new ConesError('CONES_IMAGE_INVALID', `${brief(folder)}: ${which} in a format that is not read: save it as PNG or JPEG, or take it out of the folder.`);
  }
  return visible.filter((name) => PICTURE.test(name));
}
