/** Foreign values in messages. */
import { inspect } from 'node:util';

const LONGEST = 80;

/** A value as a message shows it: short, and whatever it is, without an error of its own (`${value}` throws for a symbol). */
export function show(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value.slice(0, LONGEST))
      : inspect(value, { customInspect: false, compact: true, depth: 2, breakLength: Infinity, maxArrayLength: 10, maxStringLength: LONGEST });
  const line = text.replaceAll(/\s*\n\s*/g, ' '); // an error's stack
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST - 3)}...`;
}

/** What something that was thrown says. Not `instanceof Error`: it may come from another realm (Jest, node:vm). */
export function reason(cause: unknown): string {
  const { message } = Object(cause) as { message?: unknown };
  return typeof message === 'string' ? message : typeof cause === 'string' ? cause : show(cause);
}
