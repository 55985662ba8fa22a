// PyTorch's checkpoints: what torch.save wrote is read (scripts/golden_checkpoint.py), and nothing that a hostile file asks for is done.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Checkpoint, readCheckpoint } from '../../lib/models/checkpoint';
import { ops, pickledTensor, u16, u32, zip, type ZipChanges } from '../checkpoints';

const GOLDENS = path.join(__dirname, '../goldens/checkpoints');
const expected = JSON.parse(readFileSync(path.join(GOLDENS, 'expected.json'), 'utf8')) as Record<string, { dtype: string; shape: number[]; values: number[] }>;
const DTYPES: Record<string, string> = { 'torch.float32': 'F32', 'torch.float16': 'F16', 'torch.bfloat16': 'BF16', 'torch.float64': 'F64', 'torch.int64': 'I64' };

let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-checkpoint-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** The numbers of types that JavaScript has; of the others their bits. */
function valuesOf(file: string, { dtype, shape, offset }: { dtype: string; shape: readonly number[]; offset: number }): number[] {
  const bytes = readFileSync(file);
  const read: Record<string, [number, (at: number) => number]> = {
    F32: [4, (at) => bytes.readFloatLE(at)],
    F64: [8, (at) => bytes.readDoubleLE(at)],
    I64: [8, (at) => Number(bytes.readBigInt64LE(at))],
    F16: [2, (at) => half(bytes.readUInt16LE(at))],
    BF16: [2, (at) => Buffer.from([0, 0, bytes[at]!, bytes[at + 1]!]).readFloatLE()],
  };
  const [size, one] = read[dtype]!;
  return Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => one(offset + i * size));
}

/** Of a normal number. */
const half = (bits: number) => (bits & 0x8000 ? -1 : 1) * 2 ** (((bits >> 10) & 31) - 15) * (1 + (bits & 1023) / 1024);

test.each(['plain.bin', 'legacy.bin', 'training.ckpt', 'training-protocol5.ckpt', 'training-legacy.ckpt', 'turned.bin'])('torch.save: %s', async (name) => {
  const file = path.join(GOLDENS, name);
  const { tensors, scattered, facts } = await readCheckpoint(file);
  expect([...tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
  for (const [key, tensor] of tensors) {
    const { dtype, shape, values } = expected[key]!;
    expect([key, tensor.dtype, tensor.shape, valuesOf(file, tensor)]).toEqual([key, DTYPES[dtype], shape, values]);
  }
  // Not what another program could read in this order.
  expect([...scattered]).toEqual(name === 'turned.bin' ? ['turned'] : []);
  expect(facts.get('global_step')).toBe(name.startsWith('training') ? 875000 : undefined);
});

test('a checkpoint that is cut off is refused wherever the cut is', async () => {
  for (const name of ['plain.bin', 'legacy.bin']) {
    const bytes = readFileSync(path.join(GOLDENS, name));
    for (let length = 0; length < bytes.length; length += 101) await expect(read(bytes.subarray(0, length))).rejects.toMatchObject({ code: 'CONES_CHECKPOINT_INVALID' });
  }
});

test('a checkpoint with a changed byte is read or refused, and never anything else', async () => {
  for (const name of ['plain.bin', 'training-legacy.ckpt']) {
    const bytes = readFileSync(path.join(GOLDENS, name));
    for (let at = 0; at < bytes.length; at += 29) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1 << (at % 8);
      const result = await read(changed).catch((error: { code: string }) => error.code);
      if (typeof result === 'string') expect(result).toBe('CONES_CHECKPOINT_INVALID');
      else for (const { shape, offset } of result.tensors.values()) expect(offset + shape.reduce((a, b) => a * b, 1)).toBeLessThanOrEqual(bytes.length);
    }
  }
});

async function read(bytes: Buffer): Promise<Checkpoint> {
  const file = path.join(folder, 'x.ckpt');
  writeFileSync(file, bytes);
  return readCheckpoint(file);
}

const archive = (pickle: Buffer, changes: ZipChanges = {}) => zip([['a/data.pkl', pickle], ['a/data/0', Buffer.alloc(24)]], changes);
const raw = (...parts: readonly (Buffer | string)[]) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
const good = ops.dict([['w', pickledTensor('0', 'F32', [2, 3])]]);
const { pickle, global, reduce, text, tuple, int } = ops;
/** Proof that nothing ran: the file that the commands would make. */
const proof = () => path.join(folder, 'executed');
const command = () => text(`touch ${proof()}`);
const stackGlobal = (module: Buffer, name: Buffer) => raw(module, name, '\x93');
const CODE = 'which no weights need|no checkpoint needs';

test('the pickle that the others are made from is read', async () => {
  const { tensors } = await read(archive(pickle(good)));
  expect(tensors.get('w')).toMatchObject({ dtype: 'F32', shape: [2, 3] });
});

const HOSTILE: Record<string, readonly [() => Buffer, string]> = {
  // What would run.
  'os.system': [() => archive(pickle(reduce(global('os', 'system'), command()))), CODE],
  'posix.system': [() => archive(pickle(reduce(global('posix', 'system'), command()))), CODE],
  'nt.system': [() => archive(pickle(reduce(global('nt', 'system'), command()))), CODE],
  'subprocess.Popen': [() => archive(pickle(reduce(global('subprocess', 'Popen'), command()))), CODE],
  'builtins.eval': [() => archive(pickle(reduce(global('builtins', 'eval'), text(`open('${proof()}', 'w')`)))), CODE],
  'builtins.exec': [() => archive(pickle(reduce(global('builtins', 'exec'), command()))), CODE],
  '__builtin__.eval of Python 2': [() => archive(pickle(reduce(global('__builtin__', 'eval'), command()))), CODE],
  'builtins.compile': [() => archive(pickle(reduce(global('builtins', 'compile'), command()))), CODE],
  'builtins.open': [() => archive(pickle(reduce(global('builtins', 'open'), text(proof()), text('w')))), CODE],
  'builtins.__import__': [() => archive(pickle(reduce(global('builtins', '__import__'), text('os')))), CODE],
  'builtins.getattr': [() => archive(pickle(reduce(global('builtins', 'getattr'), global('collections', 'OrderedDict'), text('__init__')))), CODE],
  'builtins.apply': [() => archive(pickle(reduce(global('__builtin__', 'apply'), global('os', 'system'), tuple(command())))), CODE],
  'importlib.import_module': [() => archive(pickle(reduce(global('importlib', 'import_module'), text('os')))), CODE],
  'runpy._run_code': [() => archive(pickle(reduce(global('runpy', '_run_code'), command()))), CODE],
  'operator.attrgetter': [() => archive(pickle(reduce(global('operator', 'attrgetter'), text('system')))), CODE],
  'webbrowser.open': [() => archive(pickle(reduce(global('webbrowser', 'open'), text('http://x')))), CODE],
  'torch.load': [() => archive(pickle(reduce(global('torch', 'load'), text(proof())))), CODE],
  'torch.hub.load': [() => archive(pickle(reduce(global('torch.hub', 'load'), text(proof())))), CODE],
  'torch.serialization.os.system': [() => archive(pickle(reduce(global('torch.serialization', 'os.system'), command()))), CODE],
  'a walk through an allowed module': [() => archive(pickle(reduce(global('pytorch_lightning', 'os.system'), command()))), CODE],
  'numpy.testing._private.utils.runstring': [() => archive(pickle(reduce(global('numpy.testing._private.utils', 'runstring'), command()))), CODE],
  'a name that is not called': [() => archive(pickle(ops.dict([['w', global('os', 'system')]]))), CODE],
  'a name below others': [() => archive(pickle(ops.dict([['a', ops.dict([['b', reduce(global('os', 'system'), command())]])]]))), CODE],
  'a name beside good weights': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3])], ['v', reduce(global('os', 'system'), command())]]))), CODE],
  'STACK_GLOBAL': [() => archive(pickle(raw(stackGlobal(text('os'), text('system')), tuple(command()), 'R'))), CODE],
  'STACK_GLOBAL with a name from the memo': [() => archive(pickle(raw(text('os'), 'q\0', '0', text('system'), 'q\x01', '0', 'h\0', 'h\x01', '\x93', tuple(command()), 'R'))), CODE],
  'STACK_GLOBAL of what is no text': [() => archive(pickle(raw(stackGlobal(int(1), int(2))))), 'no text'],
  'STACK_GLOBAL with an overwritten memo': [() => archive(pickle(raw(text('collections'), 'q\0', '0', text('os'), 'q\0', '0', 'h\0', text('system'), '\x93', tuple(command()), 'R'))), CODE],
  'a name with a line end in it': [() => archive(pickle(raw(stackGlobal(text('collections.OrderedDict\nos'), text('system'))))), CODE],
  'a name in other letters': [() => archive(pickle(raw(stackGlobal(text('\uff4fs'), text('system'))))), CODE],
  'NEWOBJ': [() => archive(pickle(raw(global('os', 'system'), tuple(command()), '\x81'))), CODE],
  'NEWOBJ_EX': [() => archive(pickle(raw(global('subprocess', 'Popen'), tuple(command()), '}', '\x92'))), CODE],
  'INST': [() => archive(pickle(raw('(', command(), 'ios\nsystem\n'))), CODE],
  'OBJ': [() => archive(pickle(raw('(', global('os', 'system'), command(), 'o'))), CODE],
  'BUILD of a class': [() => archive(pickle(raw(global('os', 'environ'), '}b'))), CODE],
  'EXT1': [() => archive(pickle(raw('\x82\x01'))), CODE],
  'EXT2': [() => archive(pickle(raw('\x83', u16(1)))), CODE],
  'EXT4': [() => archive(pickle(raw('\x84', u32(1)))), CODE],
  'PERSID': [() => archive(pickle(raw('Pfile:///etc/passwd\n'))), CODE],
  'NEXT_BUFFER': [() => archive(pickle(raw('\x97'))), CODE],
  'numbers as text': [() => archive(pickle(raw(`I${'9'.repeat(100_000)}\n`))), CODE],
  'a text with escapes': [() => archive(pickle(raw("S'a'\n"))), CODE],
  'calling a text': [() => archive(pickle(raw(text('os.system'), tuple(command()), 'R'))), 'no function'],
  'calling with a dict': [() => archive(pickle(raw(global('collections', 'OrderedDict'), '}R'))), 'no list of arguments'],
  // Persistent ids.
  'a persistent id that is a text': [() => archive(pickle(raw(text('storage'), 'Q'))), 'no storage'],
  'a persistent id of another kind': [() => archive(pickle(raw(tuple(text('module'), global('torch', 'FloatStorage'), text('0'), text('cpu'), int(6)), 'Q'))), 'no storage'],
  'a storage of an unknown type': [() => archive(pickle(raw(tuple(text('storage'), global('collections', 'OrderedDict'), text('0'), text('cpu'), int(6)), 'Q'))), 'no storage'],
  'a storage elsewhere': [() => archive(pickle(ops.dict([['w', pickledTensor('../../etc/passwd', 'F32', [2, 3])]]))), 'is missing'],
  'a storage of negative length': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { length: -1 })]]))), 'no storage'],
  'a storage with two types': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3])], ['v', pickledTensor('0', 'F16', [2, 3])]]))), 'two lengths or types'],
  'a storage that is longer than its entry': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { length: 7 })]]))), 'as long as it says'],
  // Tensors.
  'a tensor beyond its storage': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { offset: 1 })]]))), 'beyond its storage'],
  'a tensor before its storage': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { offset: -1 })]]))), 'without a storage'],
  'negative strides': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { strides: [-3, 1] })]]))), 'shape or strides'],
  'strides beyond the storage': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { strides: [2 ** 40, 1] })]]))), 'beyond its storage'],
  'a huge shape': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2 ** 30, 2 ** 30], { length: 6 })]]))), 'more elements|beyond'],
  'a huge shape of stride 0': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2 ** 30, 2 ** 30], { strides: [0, 0], length: 6 })]]))), 'more elements'],
  'a negative shape': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [-2, -3], { length: 6 })]]))), 'shape or strides'],
  'a thousand dimensions': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', new Array<number>(1000).fill(1), { length: 6 })]]))), 'shape or strides'],
  'fewer strides than dimensions': [() => archive(pickle(ops.dict([['w', pickledTensor('0', 'F32', [2, 3], { strides: [1] })]]))), 'more dimensions'],
  // The machine.
  'more taken from the stack than there is': [() => archive(pickle(raw('00'))), 'than there is'],
  'a memo that was never stored': [() => archive(pickle(raw('h\x05'))), 'never stored'],
  'a dict that is its own state_dict': [() => archive(pickle(raw('}q\0', text('state_dict'), 'h\0', 's'))), 'holds itself'],
  'a pickle that does not end': [() => archive(raw('\x80\x02', '('.repeat(1000))), 'cut off'],
  'a text longer than the file': [() => archive(raw('\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f')), 'cut off'],
  'a frame longer than the file': [() => archive(raw('\x80\x04\x95\xff\xff\xff\xff\0\0\0\0N.')), 'cut off'],
  'a name of a megabyte': [() => archive(raw('\x80\x02c', 'a'.repeat(2 ** 20), '\nb\n.')), 'does not end'],
  'protocol 0': [() => archive(raw('\x80\0N.')), 'protocol 0'],
  'protocol 9': [() => archive(raw('\x80\x09N.')), 'protocol 9'],
  'two values': [() => archive(pickle(raw('NN'))), 'one value'],
  'a mark that stays': [() => archive(pickle(raw('(N'))), 'one value'],
  'something behind the end': [() => archive(raw(pickle(good), pickle(reduce(global('os', 'system'), command())))), 'behind its end'],
  'no dict': [() => archive(pickle(raw('N'))), 'no dict'],
  'millions of instructions': [() => archive(raw('\x80\x02', 'N0'.repeat(2 ** 20 + 1), '.')), 'instructions'],
  // The archive.
  'a compressed entry': [() => archive(pickle(good), { method: 8 }), 'compressed'],
  'an encrypted entry': [() => archive(pickle(good), { flags: 1 }), 'encrypted'],
  'a wrong checksum': [() => archive(pickle(good), { crc: 1 }), 'checksum'],
  'two pickles': [() => zip([['a/data.pkl', pickle(good)], ['b/data.pkl', pickle(good)], ['a/data/0', Buffer.alloc(24)]]), 'data.pkl'],
  'no pickle': [() => zip([['a/data/0', Buffer.alloc(24)]]), 'data.pkl'],
  'an entry twice': [() => zip([['a/data.pkl', pickle(good)], ['a/data.pkl', pickle(good)]]), 'two entries'],
  'a program of TorchScript': [() => zip([['a/data.pkl', pickle(good)], ['a/constants.pkl', pickle(good)], ['a/data/0', Buffer.alloc(24)]]), 'TorchScript'],
  'big-endian numbers': [() => zip([['a/data.pkl', pickle(good)], ['a/byteorder', Buffer.from('big')], ['a/data/0', Buffer.alloc(24)]]), 'big-endian'],
  'entries over one another': [() => overlapping(), 'reaches into'],
  'a directory beyond the file': [() => endChanged((end) => end.writeUInt32LE(0x7fffffff, 16)), 'not inside the file'],
  'a directory of gigabytes': [() => endChanged((end) => end.writeUInt32LE(0x7fffffff, 12)), 'directory of'],
  'more entries than there are': [() => endChanged((end) => (end.writeUInt16LE(9, 8), end.writeUInt16LE(9, 10))), 'cut off'],
  'an archive in several files': [() => endChanged((end) => end.writeUInt16LE(1, 4)), 'several files'],
  'a record of 64 bits that is elsewhere': [() => zip64(2n ** 60n), 'beyond all disks|ends early'],
  'a record of 64 bits that is none': [() => zip64(0n), 'contradicts itself'],
  // The old form.
  'the old form with another mark': [() => raw(pickle(int(7)), pickle(good)), 'does not begin'],
  'the old form that runs something before its mark': [() => raw(pickle(reduce(global('os', 'system'), command()))), CODE],
  'the old form that runs something where its storages are': [() => legacy(reduce(global('os', 'system'), command())), CODE],
  'the old form without its storages': [() => legacy(Buffer.from(']')), 'list of storages'],
  'the old form with storages that are not there': [() => legacy(raw('](', text('0'), text('0'), 'e')), 'ends early|list of storages|long as it says'],
};

function legacy(keys: Buffer): Buffer {
  const magic = Buffer.from([0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]);
  const machine = ops.dict([['little_endian', Buffer.from([0x88])]]);
  return raw(pickle(magic), pickle(int(1001)), pickle(machine), pickle(good), pickle(keys));
}

function endChanged(change: (end: Buffer) => void): Buffer {
  const bytes = archive(pickle(good));
  change(bytes.subarray(bytes.length - 22));
  return bytes;
}

/** The second entry's header lies in the first one's bytes. */
function overlapping(): Buffer {
  const bytes = archive(pickle(good));
  const second = bytes.lastIndexOf(Buffer.from('PK\x01\x02'));
  bytes.writeUInt32LE(40, second + 42);
  return bytes;
}

function zip64(offset: bigint): Buffer {
  const bytes = archive(pickle(good));
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50);
  locator.writeBigUInt64LE(offset, 8);
  return Buffer.concat([bytes.subarray(0, -22), locator, bytes.subarray(-22)]);
}

test('there are at least 40 of them', () => expect(Object.keys(HOSTILE).length).toBeGreaterThanOrEqual(40));

test.each(Object.entries(HOSTILE))('refused: %s', async (_, [bytes, why]) => {
  const error = await read(bytes()).then(() => undefined, (thrown: { code: string; message: string }) => thrown);
  expect(error?.code).toBe('CONES_CHECKPOINT_INVALID');
  expect(error?.message).toMatch(new RegExp(why));
  expect(error!.message.length).toBeLessThan(1000);
  expect(existsSync(proof())).toBe(false);
});

test('what nests and shares stays small', async () => {
  // Ten lists of ten of the one before: 10^40 entries if somebody walked through them.
  const laughs = raw(']q\0', '0', ...Array.from({ length: 40 }, (_, i) => raw('](', ...Array.from({ length: 10 }, () => `h${String.fromCharCode(i)}`), `eq${String.fromCharCode(i + 1)}`, '0')));
  const deep = raw(']'.repeat(100_000), 'a'.repeat(99_999), '0');
  const { tensors } = await read(archive(pickle(laughs, deep, good)));
  expect([...tensors.keys()]).toEqual(['w']);
});

test('a number of a thousand digits, and one storage for many tensors', async () => {
  const many = Array.from({ length: 1000 }, (_, i) => [`w${i}`, pickledTensor('0', 'F32', [2, 3])] as const);
  const { tensors } = await read(archive(pickle(ops.dict([['n', raw('\x8b', u32(1000), Buffer.alloc(1000, 1))], ...many]))));
  expect(tensors.size).toBe(1000);
});
