/** A file that is being downloaded: hashed as it grows, kept when it is cut off, and given its name only when its hash is right. */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { ConesError } from '../../errors';
import { ioError } from '../../util/files';
import { brief } from '../../util/show';
import type { HubFile } from './listing';

const READ_BYTES = 2 ** 20;
// Windows lacks it.
const { O_NOFOLLOW = 0 } = constants as Partial<typeof constants>;

export class PartialFile implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #file: HubFile;
  #hash: Hash;
  #length = 0;
  /** Whether bytes of an earlier process are in it. */
  #inherited = false;

  private constructor(path: string, handle: FileHandle, file: HubFile) {
    this.#path = path;
    this.#handle = handle;
    this.#file = file;
    this.#hash = hashOf(file);
  }

  /** @throws ConesError CONES_IO, also for a link in its place */
  static async open(path: string, file: HubFile): Promise<PartialFile> {
    try {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT | O_NOFOLLOW, 0o666);
      const found = await handle.stat();
      if (!found.isFile() || found.nlink > 1) {
        await handle.close();
        throw new Error('it is a link to another file. Remove it');
      }
      const partial = new PartialFile(path, handle, file);
      if (found.size > file.size) await partial.restart();
      else await partial.#inherit(found.size);
      return partial;
    } catch (cause) {
      throw ioError(`${brief(path)} cannot be written`, cause);
    }
  }

  get length(): number {
    return this.#length;
  }

  get inherited(): boolean {
    return this.#inherited;
  }

  async #inherit(size: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    while (this.#length < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.length, size - this.#length), this.#length);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#length += bytesRead;
    }
    this.#inherited = this.#length > 0;
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let written = 0; written < bytes.length; ) {
        written += (await this.#handle.write(bytes, written, bytes.length - written, this.#length + written)).bytesWritten;
      }
    } catch (cause) {
      throw ioError(`${brief(this.#path)} cannot be written`, cause);
    }
    this.#hash.update(bytes);
    this.#length += bytes.length;
  }

  async restart(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = hashOf(this.#file);
    this.#length = 0;
    this.#inherited = false;
  }

  /** Whether all bytes are those that the hub promises. */
  isRight(): boolean {
    return this.#length === this.#file.size && this.#hash.copy().digest('hex') === this.#file.hash;
  }

  /** @throws ConesError CONES_IO; CONES_INTERNAL unless it {@link isRight} */
  async publish(target: string): Promise<void> {
    if (!this.isRight()) throw new ConesError('CONES_INTERNAL', `${brief(this.#file.path)} would be published unchecked.`);
    try {
      await this.#handle.sync();
      await rename(this.#path, target);
    } catch (cause) {
      throw ioError(`${brief(target)} cannot be written`, cause);
    }
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function hashOf({ hash, size }: HubFile): Hash {
  // Git's hash of a file begins with its kind and length.
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}
