// Reads a folder of reference tensors (models/README.md) and judges results against it.
'use strict';
const { readFileSync } = require('node:fs');
const path = require('node:path');

const ARRAYS = { F32: Float32Array, I32: Int32Array };

/** Tensors of a safetensors file that our own scripts wrote: name → { shape, data }; data of those in fp32 and int32. */
function readSafetensors(file) {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, start));
  delete header.__metadata__;
  return new Map(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const data = bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to);
    return [name, { shape, data: ARRAYS[dtype] && new ARRAYS[dtype](data) }];
  }));
}

class Golden {
  #errors;

  constructor(folder) {
    this.tensors = readSafetensors(path.join(folder, 'golden.safetensors'));
    this.#errors = JSON.parse(readFileSync(path.join(folder, 'errors.json'), 'utf8'));
  }

  data(name) {
    return this.tensors.get(name).data;
  }

  shape(name) {
    return this.tensors.get(name).shape;
  }

  judge(name, got) {
    const want = this.data(name);
    const { maxAbsError, maxAbsValue } = this.#errors[name];
    if (got.length !== want.length) throw new Error(`${name} has ${got.length} values instead of ${want.length}.`);
    let error = 0;
    for (let i = 0; i < want.length; i++) {
      const e = Math.abs(got[i] - want[i]);
      if (!(e <= error)) error = e; // also NaN
      if (Number.isNaN(error)) break;
    }
    const pytorch = maxAbsError / maxAbsValue;
    const tolerance = 2 * pytorch + 2 ** -20;
    error /= maxAbsValue;
    return { name, error, pytorch, tolerance, ok: error <= tolerance };
  }
}

module.exports = { Golden, readSafetensors };
