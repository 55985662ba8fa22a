/**
 * Python's pickles, as torch.save writes them: a program for a little machine with a stack and a memo. This one knows containers,
 * numbers, texts and the few names that tensors are made with, and nothing that it reads is ever looked up, called or executed.
 * Names outside the lists below end the reading. Every instruction takes a step and no more memory than its own bytes, but for
 * a value's few words; values that are shared stay shared, so nothing multiplies.
 * https://github.com/python/cpython/blob/3.13/Lib/pickletools.py
 */
import type { Pieces } from '../../util/pieces';
import { Problem } from './damaged';

/** A class or function by name. */
export class Name {
  constructor(readonly module: string, readonly name: string) {}
  get full(): string {
    return `${this.module}.${this.name}`;
  }
}
/** A value that nothing needs: an object of a training program, a number of a thousand digits. */
export class Opaque {}
export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}
/** A dict; keys other than texts and numbers are kept as they are, by identity. */
export type Dict = Map<unknown, unknown>;

/** What a program may do beyond plain values. */
export interface Makers {
  /** Names that mean something; others than these and the harmless ones below are refused. */
  readonly names: ReadonlySet<string>;
  /** An object that is stored outside of the pickle. */
  readonly persistent: (id: unknown) => unknown;
  /** The value that `name(...items)` has. */
  readonly call: (name: Name, items: readonly unknown[]) => unknown;
}

/** Instructions of a pickle: a checkpoint with averaged weights and an optimiser has 200 000. */
const MOST_STEPS = 2 ** 21;
const STEPS_A_PIECE = 2 ** 14;
/** Bytes of a number: what is longer is of no use. */
const LONGEST_NUMBER = 16;

/**
 * Names that checkpoints of training programs hold beside the weights: values made with them are opaque. All others are refused,
 * for a checkpoint has no business with them.
 */
const HARMLESS = new Set([
  ...['numpy.dtype', 'numpy.ndarray', 'numpy.core.multiarray.scalar', 'numpy.core.multiarray._reconstruct'],
  ...['numpy._core.multiarray.scalar', 'numpy._core.multiarray._reconstruct', '_codecs.encode'],
  ...['set', 'frozenset', 'dict', 'list', 'tuple', 'int', 'float', 'complex', 'bool', 'str', 'bytes', 'bytearray'].flatMap((type) => [`builtins.${type}`, `__builtin__.${type}`]),
  ...['collections.defaultdict', 'collections.Counter'],
  ...['argparse.Namespace', 'datetime.timedelta', 'datetime.datetime', 'pathlib.PosixPath', 'pathlib.WindowsPath', 'typing.Any'],
  ...['torch.device', 'torch.dtype', 'torch.Generator', 'torch._utils._rebuild_tensor_v3', 'torch.serialization._get_layout'],
]);
const HARMLESS_PACKAGES = ['pytorch_lightning.', 'lightning.', 'lightning_fabric.', 'omegaconf.', 'ldm.'];

/** Reads one pickle from `bytes`; what is behind it is left alone. */
export function* readPickle(bytes: Buffer, makers: Makers): Pieces<{ value: unknown; end: number }> {
  const machine = new Machine(bytes, makers);
  for (let steps = 1; !machine.step(); steps++) {
    if (steps >= MOST_STEPS) throw new Problem(`its pickle has more than ${MOST_STEPS} instructions`);
    if (steps % STEPS_A_PIECE === 0) yield;
  }
  return { value: machine.result(), end: machine.at };
}

class Machine {
  at = 0;
  #stack: unknown[] = [];
  /** Stacks below a mark. */
  readonly #marked: unknown[][] = [];
  readonly #memo = new Map<number, unknown>();

  constructor(readonly bytes: Buffer, readonly makers: Makers) {}

  result(): unknown {
    if (this.#stack.length !== 1 || this.#marked.length > 0) throw new Problem('its pickle ends with more or less than one value');
    return this.#stack[0];
  }

  /** Whether it was the last. */
  step(): boolean {
    const code = this.#byte();
    switch (code) {
      case 0x2e: // STOP
        return true;
      case 0x80: { // PROTO
        const protocol = this.#byte();
        if (protocol < 2 || protocol > 5) throw new Problem(`its pickle is of protocol ${protocol}`);
        break;
      }
      case 0x95: // FRAME
        if (this.#size(8) > this.bytes.length - this.at) throw new Problem('its pickle is cut off');
        break;
      case 0x28: // MARK
        this.#marked.push(this.#stack);
        this.#stack = [];
        break;
      case 0x30: // POP
        if (this.#stack.length > 0) this.#stack.pop();
        else this.#toMark();
        break;
      case 0x31: // POP_MARK
        this.#toMark();
        break;
      case 0x32: // DUP
        this.#push(this.#top());
        break;
      case 0x4e: // NONE
        this.#push(null);
        break;
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        this.#push(code === 0x88);
        break;
      case 0x47: // BINFLOAT
        this.#push(this.#take(8).readDoubleBE());
        break;
      case 0x4a: // BININT
        this.#push(this.#take(4).readInt32LE());
        break;
      case 0x4b: // BININT1
        this.#push(this.#byte());
        break;
      case 0x4d: // BININT2
        this.#push(this.#size(2));
        break;
      case 0x8a: // LONG1
        this.#push(integer(this.#take(this.#byte())));
        break;
      case 0x8b: // LONG4
        this.#push(integer(this.#take(this.#size(4))));
        break;
      case 0x58: // BINUNICODE
        this.#push(this.#text(this.#size(4)));
        break;
      case 0x8c: // SHORT_BINUNICODE
        this.#push(this.#text(this.#byte()));
        break;
      case 0x8d: // BINUNICODE8
        this.#push(this.#text(this.#size(8)));
        break;
      case 0x54: // BINSTRING, a text of Python 2
        this.#push(this.#text(this.#size(4)));
        break;
      case 0x55: // SHORT_BINSTRING
        this.#push(this.#text(this.#byte()));
        break;
      case 0x42: // BINBYTES
        this.#opaqueBytes(this.#size(4));
        break;
      case 0x43: // SHORT_BINBYTES
        this.#opaqueBytes(this.#byte());
        break;
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        this.#opaqueBytes(this.#size(8));
        break;
      case 0x7d: // EMPTY_DICT
        this.#push(new Map());
        break;
      case 0x5d: // EMPTY_LIST
        this.#push([]);
        break;
      case 0x8f: // EMPTY_SET
        this.#push(new Opaque());
        break;
      case 0x29: // EMPTY_TUPLE
        this.#push(new Tuple([]));
        break;
      case 0x74: // TUPLE
        this.#replaceMark((items) => new Tuple(items));
        break;
      case 0x6c: // LIST
        this.#replaceMark((items) => items);
        break;
      case 0x64: // DICT
        this.#replaceMark((items) => setAll(new Map(), items));
        break;
      case 0x91: // FROZENSET
        this.#replaceMark(() => new Opaque());
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: { // TUPLE3
        const items = [];
        for (let n = code - 0x84; n > 0; n--) items.push(this.#pop());
        this.#push(new Tuple(items.reverse()));
        break;
      }
      case 0x61: { // APPEND
        const value = this.#pop();
        appendAll(this.#top(), [value]);
        break;
      }
      case 0x65: { // APPENDS
        const items = this.#toMark();
        appendAll(this.#top(), items);
        break;
      }
      case 0x73: { // SETITEM
        const value = this.#pop();
        const key = this.#pop();
        setAll(this.#top(), [key, value]);
        break;
      }
      case 0x75: { // SETITEMS
        const items = this.#toMark();
        setAll(this.#top(), items);
        break;
      }
      case 0x90: // ADDITEMS
        this.#toMark();
        if (!(this.#top() instanceof Opaque)) throw new Problem('its pickle adds to what is no set');
        break;
      case 0x68: // BINGET
        this.#recall(this.#byte());
        break;
      case 0x6a: // LONG_BINGET
        this.#recall(this.#size(4));
        break;
      case 0x71: // BINPUT
        this.#memo.set(this.#byte(), this.#top());
        break;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#size(4), this.#top());
        break;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        break;
      case 0x63: { // GLOBAL
        const module = this.#line();
        this.#push(this.#name(module, this.#line()));
        break;
      }
      case 0x93: { // STACK_GLOBAL
        const name = this.#pop();
        this.#push(this.#name(this.#pop(), name));
        break;
      }
      case 0x51: // BINPERSID
        this.#push(this.makers.persistent(this.#pop()));
        break;
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ
        this.#call();
        break;
      case 0x92: // NEWOBJ_EX
        this.#pop();
        this.#call();
        break;
      case 0x62: // BUILD: attributes, such as the versions of a state dict's modules
        this.#pop();
        this.#top();
        break;
      default:
        throw new Problem(`its pickle has the instruction 0x${code!.toString(16).padStart(2, '0')}, which no checkpoint needs`);
    }
    return false;
  }

  #take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.bytes.length) throw new Problem('its pickle is cut off');
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  #byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw new Problem('its pickle is cut off');
    this.at++;
    return byte;
  }

  /** An unsigned number of 2, 4 or 8 bytes. */
  #size(bytes: 2 | 4 | 8): number {
    const taken = this.#take(bytes);
    return bytes === 8 ? Number(taken.readBigUInt64LE()) : taken.readUIntLE(0, bytes);
  }

  #text(length: number): string {
    return this.#take(length).toString('utf8');
  }

  /** Python's protocol 2 makes bytes of no program's but numpy's. */
  #opaqueBytes(length: number): void {
    this.#take(length);
    this.#push(new Opaque());
  }

  /** A name's module or itself, to the end of the line. */
  #line(): string {
    const end = this.bytes.subarray(this.at, this.at + LONGEST_NAME + 1).indexOf(0x0a);
    if (end < 0) throw new Problem('its pickle has a name that does not end');
    const line = this.#text(end);
    this.at++;
    return line;
  }

  #push(value: unknown): void {
    this.#stack.push(value);
  }

  #pop(): unknown {
    if (this.#stack.length === 0) throw new Problem('its pickle takes more from the stack than there is');
    return this.#stack.pop();
  }

  #top(): unknown {
    if (this.#stack.length === 0) throw new Problem('its pickle takes more from the stack than there is');
    return this.#stack[this.#stack.length - 1];
  }

  #toMark(): unknown[] {
    const below = this.#marked.pop();
    if (below === undefined) throw new Problem('its pickle takes more from the stack than there is');
    const items = this.#stack;
    this.#stack = below;
    return items;
  }

  #replaceMark(make: (items: unknown[]) => unknown): void {
    const items = this.#toMark();
    this.#push(make(items));
  }

  #recall(index: number): void {
    if (!this.#memo.has(index)) throw new Problem('its pickle recalls what it has never stored');
    this.#push(this.#memo.get(index));
  }

  #name(module: unknown, name: unknown): Name {
    if (typeof module !== 'string' || typeof name !== 'string') throw new Problem('its pickle has a name that is no text');
    const known = new Name(module, name);
    if (!this.makers.names.has(known.full) && !isHarmless(known)) {
      throw new Problem(`it asks Python for ${JSON.stringify(known.full.slice(0, 100))}, which no weights need: the file may be malicious`);
    }
    return known;
  }

  #call(): void {
    const items = this.#pop();
    const name = this.#pop();
    if (!(items instanceof Tuple)) throw new Problem('its pickle calls something with what is no list of arguments');
    if (name instanceof Opaque) return this.#push(name);
    if (!(name instanceof Name)) throw new Problem('its pickle calls what is no function');
    this.#push(this.makers.names.has(name.full) ? this.makers.call(name, items.items) : new Opaque());
  }
}

const LONGEST_NAME = 1000;

function isHarmless({ full, name }: Name): boolean {
  // "numpy" and "core.multiarray.scalar" are one name, too; dots in the second part walk through attributes.
  return !name.includes('.') && (HARMLESS.has(full) || HARMLESS_PACKAGES.some((start) => full.startsWith(start)));
}

function integer(bytes: Buffer): unknown {
  if (bytes.length === 0) return 0;
  if (bytes.length > LONGEST_NUMBER) return new Opaque();
  const value = BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`));
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function appendAll(list: unknown, items: readonly unknown[]): void {
  if (list instanceof Opaque) return;
  if (!Array.isArray(list)) throw new Problem('its pickle appends to what is no list');
  for (const item of items) list.push(item);
}

function setAll(dict: unknown, items: readonly unknown[]): unknown {
  if (items.length % 2 !== 0) throw new Problem('its pickle has a key without a value');
  if (dict instanceof Opaque) return dict;
  if (!(dict instanceof Map)) throw new Problem('its pickle sets items of what is no dict');
  for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  return dict;
}
