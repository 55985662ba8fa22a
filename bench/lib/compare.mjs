// Two engines, measured in turn: the machine's other load and its clock then weigh on both alike.
import { median } from './engine-rows.mjs';

/**
 * `rounds` pairs in the order ours, theirs, theirs, ours, …, so that drift cancels. `ours` and `theirs` resolve to
 * { ms, cpuMs } per call.
 * @returns medians of both, and theirs/ours pair by pair: median and range, of wall-clock and of processor time
 */
export async function alternate(rounds, ours, theirs) {
  const pairs = [];
  for (let round = 0; round < rounds; round++) {
    const pair = {};
    const sides = [['ours', ours], ['theirs', theirs]];
    for (const [name, measure] of round % 2 ? sides.reverse() : sides) pair[name] = await measure();
    pairs.push(pair);
  }
  const of = (side, key) => median(pairs.map((pair) => pair[side][key]));
  return {
    ours: { ms: of('ours', 'ms'), cpuMs: of('ours', 'cpuMs') },
    pytorch: { ms: of('theirs', 'ms'), cpuMs: of('theirs', 'cpuMs') },
    ratio: spread(pairs, 'ms'),
    cpuRatio: spread(pairs, 'cpuMs'),
    pairs,
  };
}

function spread(pairs, key) {
  const ratios = pairs.map(({ ours, theirs }) => theirs[key] / ours[key]);
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}
