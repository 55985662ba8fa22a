/** Who follows a signal, and its one listener, which tells them. */
interface Followers {
  readonly tell: Set<() => void>;
  readonly listener: () => void;
}

/** By signal: many jobs may follow one, and Node takes more than ten listeners for a leak and warns. */
const known = new WeakMap<AbortSignal, Followers>();

/** Calls `aborted` when the signal fires, until the function that it returns is called. */
export function followSignal(signal: AbortSignal, aborted: () => void): () => void {
  let followers = known.get(signal);
  if (!followers) {
    const tell = new Set<() => void>();
    followers = { tell, listener: () => tell.forEach((follower) => follower()) };
    known.set(signal, followers);
  }
  const { tell, listener } = followers;
  // A function of its own: the same one may be given twice.
  const follower = () => aborted();
  if (tell.size === 0) signal.addEventListener('abort', listener, { once: true });
  tell.add(follower);
  return () => {
    if (tell.delete(follower) && tell.size === 0) signal.removeEventListener('abort', listener);
  };
}
