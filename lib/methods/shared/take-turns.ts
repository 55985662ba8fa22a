/** Of each list in turn, until the longest has ended; shorter ones begin again, so that all count the same. */
export function takeTurns<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.map((list) => list[i % list.length]!)).flat();
}
