/** Files that are not what their name says, as downloads leave them. */

/** Bytes from a file's beginning that {@link mistakenFor} looks at. */
export const BEGINNING = 512;

const PAGES = ['<!doctype html', '<html', '<head', '<error', '<?xml version="1.0" encoding="utf-8"?><error'];

/** What a file is instead of what it should be, and what to do about it, in a sentence or two; undefined: nobody knows. */
export function mistakenFor(bytes: Uint8Array): string | undefined {
  const beginning = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, BEGINNING)).toString('latin1');
  if (beginning.startsWith('version https://git-lfs.github.com/spec/')) {
    return "it is a Git LFS pointer, which stands for the file. Fetch the file itself: run `git lfs pull` in its repository, or download it with `hf download`.";
  }
  const text = beginning.replace('\u00ef\u00bb\u00bf', '').trimStart().toLowerCase();
  if (PAGES.some((start) => text.startsWith(start))) {
    return 'it is a web page, which servers send when there is something to accept, to log in to or to complain about. Download the file itself.';
  }
  if (beginning.startsWith('PK\u0003\u0004')) return 'it is a ZIP archive. Unpack it; if it is a checkpoint of PyTorch, save its weights as safetensors.';
  if (beginning.startsWith('\u001f\u008b')) return 'it is compressed with gzip. Unpack it.';
  return undefined;
}
