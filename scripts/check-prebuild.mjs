// Fails where there is no prebuilt addon to publish, or where one needs a newer system than is promised (docs/guide/in-an-app.md):
// glibc 2.28 and GCC 8's libraries, so RHEL 8, Debian 10, Ubuntu 20.04 and Amazon Linux 2023.
//   node scripts/check-prebuild.mjs                prebuilds/
//   node scripts/check-prebuild.mjs build/Release  another folder with libraries
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root, script } from './run.mjs';

/** The newest symbol version that a library may ask for, by its prefix. GCC 8 has the latter three. */
const FLOOR = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11', GCC: '8.0.0' };

/** The symbol versions that a 64-bit little-endian ELF file asks other libraries for, such as `GLIBC_2.28`. */
function versionNeeds(file) {
  const elf = readFileSync(file);
  if (elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error(`${file} is no 64-bit ELF library.`);
  const section = (index) => {
    const at = Number(elf.readBigUInt64LE(40)) + index * elf.readUInt16LE(58);
    return { type: elf.readUInt32LE(at + 4), offset: Number(elf.readBigUInt64LE(at + 24)), link: elf.readUInt32LE(at + 40), count: elf.readUInt32LE(at + 44) };
  };
  const needs = [];
  for (let index = 0; index < elf.readUInt16LE(60); index++) {
    const { type, offset, link, count } = section(index);
    if (type !== 0x6ffffffe) continue; // SHT_GNU_verneed: a list of libraries, each with a list of versions
    const names = section(link).offset;
    const text = (at) => elf.toString('latin1', names + at, elf.indexOf(0, names + at));
    for (let i = 0, library = offset; i < count; i++, library += elf.readUInt32LE(library + 12)) {
      let version = library + elf.readUInt32LE(library + 8);
      for (let j = 0; j < elf.readUInt16LE(library + 2); j++, version += elf.readUInt32LE(version + 12)) {
        needs.push(text(elf.readUInt32LE(version + 8)));
      }
    }
  }
  return needs;
}

function isNewer(version, floor) {
  const [a, b] = [version, floor].map((text) => text.split('.').map(Number));
  const i = [0, 1, 2].find((i) => (a[i] ?? 0) !== (b[i] ?? 0));
  return i !== undefined && (a[i] ?? 0) > (b[i] ?? 0);
}

/** What the libraries of a folder need beyond the floor, a sentence each. */
function aboveFloor(folder) {
  const faults = [];
  for (const name of readdirSync(folder).filter((name) => /\.(node|so)$/.test(name))) {
    for (const need of versionNeeds(path.join(folder, name))) {
      const [, prefix, version] = /^(\w+?)_([\d.]+)$/.exec(need) ?? [];
      if (!(prefix in FLOOR)) faults.push(`${name} needs ${need}, which this script does not know.`);
      else if (isNewer(version, FLOOR[prefix])) faults.push(`${name} needs ${need}; at most ${prefix}_${FLOOR[prefix]} is promised. See csrc/floor/glibc_floor.cc.`);
    }
  }
  return faults;
}

await script(() => {
  const [folder] = process.argv.slice(2);
  const prebuilds = path.join(root, 'prebuilds');
  const platforms = existsSync(prebuilds) ? readdirSync(prebuilds).filter((name) => !name.startsWith('.')) : [];
  const folders = folder ? [path.resolve(folder)] : platforms.map((name) => path.join(prebuilds, name));
  if (!folders.some((name) => existsSync(name) && readdirSync(name).some((file) => file.endsWith('.node')))) {
    throw new Error(`There is no prebuilt addon in ${folder ?? 'prebuilds/'}, so the package would not work. Run: npm run prebuilds`);
  }
  const faults = folders.filter((name) => folder || path.basename(name).startsWith('linux-')).flatMap(aboveFloor);
  if (faults.length > 0) throw new Error(faults.join('\n'));
});
