/** A learned vector that replaces the rare token's embedding in the text encoder. */
export interface IdentifierEmbedding {
  /** How the file stores it. `float16` halves the size; the values are then rounded to the nearest half. */
  readonly dtype: 'float16' | 'float32';
  /** [D], D the text encoder's hidden size. */
  readonly values: Float32Array;
}

/** What a concept draws, and how a prompt asks for it. */
export interface Subject {
  /** The name used in prompts: `V1*`. */
  readonly identifier: string;
  /** The rare token that the text encoder sees in its place: `ktn`. */
  readonly token: string;
  /** The class of things that the subject belongs to: `cat`. */
  readonly category: string;
  readonly embedding?: IdentifierEmbedding;
}

/** The concept neurons in one K-V weight. */
export interface ConceptTensor {
  /** [out, in], as in the model's file. */
  readonly shape: readonly number[];
  /** Row-major positions of the neurons, strictly ascending. Of a {@link Concept} each access is a copy. */
  readonly indices: Uint32Array;
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Everything that a concept file holds. */
export interface ConceptData {
  /** Identifies the base model: a hash over the names, shapes and bytes of its K-V weights. */
  readonly fingerprint: string;
  /** At least one; a union has those of all its parts. */
  readonly subjects: readonly Subject[];
  /** How the neurons were chosen, such as `algorithm-a2` or `union`. */
  readonly method: string;
  /** Steps of the search; 0 when the neurons come from no search. */
  readonly steps: number;
  /** Where the search ran, when not on the CPU in fp32: 'cuda' and 'fp16' or 'bf16'. */
  readonly device?: string;
  readonly precision?: string;
  /** Version of `cones` that chose the neurons. */
  readonly engineVersion: string;
  /** Free: what the search measured. */
  readonly report?: { readonly [key: string]: Json };
  /** By the weight's name in the model, in the model's order. Weights without neurons count for the density. */
  readonly tensors: ReadonlyMap<string, ConceptTensor>;
}

/** What a reader accepts, and so what a writer may write. */
export const LIMITS = {
  /** Bytes of the header, before compression. */
  headerBytes: 2 ** 20,
  jsonDepth: 32,
  /** UTF-16 code units of a name. */
  text: 256,
  subjects: 64,
  embedding: 2 ** 16,
  tensors: 4096,
  rank: 4,
  /** Indices are uint32, and a Golomb stream's bits are counted in an int32. */
  tensorWeights: 2 ** 31,
  /** So that the sections never exceed the 4 GiB that their length field can say. */
  weights: 2 ** 34,
} as const;
