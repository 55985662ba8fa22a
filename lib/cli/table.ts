/** Lines of a table: the first column is text, the others are numbers and stand flush right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => row[c]?.length ?? 0)));
  return rows.map((row) => row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ').trimEnd());
}

/** 43950080 → "43,950,080" */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** 0.0132 → "1.32 %" */
export function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(2)} %`;
}
