/** How long a word's embedding is. Learned ones that are much longer drown out the rest of the prompt (docs/log/2026-11-28-several-subjects.md). */
import { z } from 'zod';
import type { Subject } from '../concept';
import type { Session } from './session';

/** As a multiple of the mean length of the vocabulary's; left out: no limit. */
export const embeddingNormOption = z.number().gt(0).max(1000).optional();

/** Subjects whose learned embeddings are no longer than `limit` times the words' mean length; one and the same for the same subject. */
export async function withShortEmbeddings(session: Session, limit: number | undefined, signal: AbortSignal | undefined): Promise<(subject: Subject) => Subject> {
  if (limit === undefined) return (subject) => subject;
  const most = limit * (await session.wordNorm(signal));
  const shortened = new Map<Subject, Subject>();
  return (subject) => {
    const known = shortened.get(subject) ?? shorten(subject, most);
    shortened.set(subject, known);
    return known;
  };
}

function shorten(subject: Subject, most: number): Subject {
  const { embedding } = subject;
  const norm = embedding ? Math.hypot(...embedding.values) : 0;
  if (!embedding || norm <= most) return subject;
  return { ...subject, embedding: { ...embedding, values: embedding.values.map((value) => value * (most / norm)) } };
}
