import type { Command } from 'commander';
import { listDevices } from '../device';
import { addOutputFlags, type OutputFlags } from './arguments';
import { type Io, printJson, printLines } from './io';
import { table } from './table';

/** `cones devices`: what --device can name. */
export function addDevices(program: Command, io: Io): void {
  const command = program.command('devices').description('List the devices that --device can name, and why others cannot be used.');
  addOutputFlags(command);
  command.action((flags: OutputFlags) => devices(flags, io));
}

async function devices(flags: OutputFlags, io: Io): Promise<void> {
  const all = await listDevices();
  if (flags.json) return printJson(io, { devices: all });
  const rows = all.map(({ device, name, memory }) => [device, name ?? '', memory === null ? '' : `${(memory / 2 ** 30).toFixed(1)} GiB`]);
  const reasons = all.flatMap(({ device, reason }) => (reason === null ? [] : [`${device} cannot be used. ${reason}`]));
  printLines(io, [...table([['device', 'name', 'memory'], ...rows]), ...(reasons.length > 0 ? [''] : []), ...reasons]);
}
