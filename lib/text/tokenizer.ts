import { Tokenizer as BpeTokenizer } from '@huggingface/tokenizers';
import { ConesError } from '../errors';
import { brief } from '../util/show';
import type { TokenizerSource } from '../models/types';
import { clipVocabulary } from './clip-vocabulary';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files';

/** A text as the text encoder reads it. */
export interface Encoding {
  /** [maxLength]: BOS, the text's tokens, EOS, padding. */
  readonly ids: Int32Array;
  /** How many of `ids` are not padding. */
  readonly length: number;
  /** The words of the text that fit, normalised (lower case). */
  readonly words: readonly string[];
  /** [maxLength]: index into `words` of the word that the token is part of; -1 for BOS, EOS and padding. */
  readonly wordOfToken: Int32Array;
  /** [maxLength]: index of the piece that the token is of; -1 for BOS, EOS and padding. */
  readonly pieceOfToken: Int32Array;
  /** The end of the text that did not fit, normalised; '' when all of it did. */
  readonly truncated: string;
}

/** Characters. No token of CLIP has more than some dozens, and a text has at most 77 tokens. */
const LONG = 20_000;

/** A token of a text. */
export interface Token {
  readonly id: number;
  /** As the vocabulary writes it: `cat</w>` */
  readonly token: string;
}

interface TokenOfPiece extends Token {
  readonly piece: number;
}

/**
 * CLIP's byte-pair encoding, equal to transformers' `CLIPTokenizer`. Words that textual inversion gave several vectors stand for all
 * of them, as in diffusers' pipelines: `<toy>` is read as `<toy> <toy>_1 <toy>_2`.
 */
export class Tokenizer {
  /** Tokens per text, BOS and EOS included: 77 for CLIP. */
  readonly maxLength: number;
  readonly #bpe: BpeTokenizer;
  readonly #files: TokenizerFiles;
  readonly #addedIds: ReadonlySet<number>;
  /** Of a word that textual inversion gave several vectors, by the id of the first: the tokens of the others. */
  readonly #vectors: ReadonlyMap<number, readonly Token[]>;

  private constructor(files: TokenizerFiles, maxLength: number) {
    this.#files = files;
    this.#addedIds = new Set(files.added.map(({ id }) => id));
    this.#vectors = listVectors(files);
    this.#bpe = createBpe(files);
    this.maxLength = maxLength;
  }

  /**
   * Loads the `tokenizer/` folder of a model, or CLIP's own vocabulary.
   * @param limits What the text encoder can take: its number of positions (which caps `maxLength`) and of embeddings.
   * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED or CONES_IO.
   */
  static async load(source: TokenizerSource, limits: { maxPositions: number; vocabSize: number }): Promise<Tokenizer> {
    const files = typeof source === 'string' ? await readTokenizerFiles(source) : await clipVocabulary(source.pad);
    const largest = Object.values(files.vocab).reduce((a, b) => Math.max(a, b), 0);
    if (largest >= limits.vocabSize) {
      throw new ConesError(
        'CONES_CONFIG_INVALID',
        `${typeof source === 'string' ? brief(source) : "CLIP's vocabulary"} has token ids up to ${largest}, but the text encoder's "vocab_size" is ${limits.vocabSize}.`,
      );
    }
    return new Tokenizer(files, Math.min(files.maxLength, limits.maxPositions));
  }

  /**
   * Encodes one text, or the pieces of one, between which words end. Text beyond `maxLength` is cut off and returned in `truncated`.
   */
  encode(text: string | readonly string[]): Encoding {
    const { tokens, rest } = this.#tokenizePieces([text].flat());
    const kept = tokens.slice(0, this.maxLength - 2);
    const ids = this.frame(kept.map(({ id }) => id));

    const pieceOfToken = new Int32Array(this.maxLength).fill(-1);
    pieceOfToken.set(kept.map(({ piece }) => piece), 1);
    const wordOfToken = new Int32Array(this.maxLength).fill(-1);
    const words: string[] = [];
    let wordStart = 0;
    kept.forEach(({ id, token }, i) => {
      wordOfToken[i + 1] = words.length;
      if (token.endsWith('</w>') || this.#addedIds.has(id) || i === kept.length - 1) {
        words.push(this.decode(kept.slice(wordStart, i + 1)));
        wordStart = i + 1;
      }
    });
    return {
      ids,
      length: kept.length + 2,
      words,
      wordOfToken,
      pieceOfToken,
      truncated: this.decode(tokens.slice(kept.length)) + rest,
    };
  }

  /** [maxLength]: BOS, up to maxLength − 2 tokens, EOS, padding. */
  frame(tokens: readonly number[]): Int32Array {
    const { vocab, bos, eos, pad } = this.#files;
    const ids = new Int32Array(this.maxLength).fill(vocab[pad]!);
    ids.set([vocab[bos]!, ...tokens, vocab[eos]!]);
    return ids;
  }

  /** The tokens of a text, those of a word that has several vectors together; of a very long one the first, more than `most`. */
  units(text: string, most: number): Token[][] {
    const { tokens } = this.#tokenizeAsMuchAsCounts(text, most);
    const units: Token[][] = [];
    for (let i = 0; i < tokens.length; ) {
      const length = 1 + (this.#vectors.get(tokens[i]!.id)?.length ?? 0);
      units.push(tokens.slice(i, i + length));
      i += length;
    }
    return units;
  }

  /** The token of a word of the vocabulary; undefined where it has none. */
  vocabularyId(token: string): number | undefined {
    return Object.hasOwn(this.#files.vocab, token) ? this.#files.vocab[token] : undefined;
  }

  /** The id of a word that is one token, such as a rare token that names a subject; null otherwise. */
  tokenId(word: string): number | null {
    const tokens = this.#tokenize(word);
    return tokens.length === 1 ? tokens[0]!.id : null;
  }

  /** Whether a text is nothing but words that were added to the tokenizer, such as textual inversion's `<toy>`. */
  hasWord(text: string): boolean {
    const tokens = this.#tokenize(text);
    return tokens.length > 0 && tokens.every(({ id }) => this.#addedIds.has(id));
  }

  /** Of a long text, no more pieces than fill all ids. */
  #tokenizePieces(pieces: readonly string[]): { tokens: TokenOfPiece[]; rest: string } {
    const isLong = pieces.reduce((sum, { length }) => sum + length, 0) > LONG;
    const tokens: TokenOfPiece[] = [];
    for (const [piece, text] of pieces.entries()) {
      const found = this.#tokenizeAsMuchAsCounts(text);
      for (const token of found.tokens) tokens.push({ ...token, piece });
      if (isLong && tokens.length > this.maxLength) return { tokens, rest: found.rest + withSingleSpaces(pieces.slice(piece + 1).join('')).toLowerCase() };
    }
    return { tokens, rest: '' };
  }

  /**
   * Of a text of megabytes, which would take seconds, only the first whole words are looked at, and of a word that is
   * itself so long, its beginning: they fill all ids.
   */
  #tokenizeAsMuchAsCounts(text: string, most = this.maxLength): { tokens: Token[]; rest: string } {
    if (text.length > LONG) {
      const spaced = withSingleSpaces(text);
      const head = spaced.slice(0, LONG);
      const end = head.lastIndexOf(' ');
      const cut = end > 0 ? end : head.length;
      const tokens = this.#tokenize(head.slice(0, cut));
      if (tokens.length > most) return { tokens, rest: spaced.slice(cut).toLowerCase() };
    }
    return { tokens: this.#tokenize(text), rest: '' };
  }

  #tokenize(text: string): Token[] {
    // JavaScript lower-cases a final sigma to ς; the Rust library, which CLIP was used with, always to σ.
    const { ids, tokens } = this.#bpe.encode(text.replaceAll('Σ', 'σ'), { add_special_tokens: false });
    return this.#withAllVectors(tokens.map((token, i) => ({ token, id: ids[i]! })));
  }

  /** A word whose vectors are written out, `<toy> <toy>_1 …`, stays as it is. */
  #withAllVectors(tokens: readonly Token[]): Token[] {
    return tokens.flatMap((token, i) => {
      const others = this.#vectors.get(token.id);
      return others && tokens[i + 1]?.id !== others[0]!.id ? [token, ...others] : [token];
    });
  }

  /** The text of tokens, normalised (lower case). */
  decode(tokens: readonly Token[]): string {
    if (tokens.length === 0) return '';
    const text = this.#bpe.decode(tokens.map(({ id }) => id));
    return text.replaceAll('</w>', ' ').trimEnd();
  }
}

function withSingleSpaces(text: string): string {
  return text.replace(/\p{White_Space}+/gu, ' ');
}

/** diffusers' `load_textual_inversion` names the vectors of `<toy>` `<toy>`, `<toy>_1`, `<toy>_2` … */
function listVectors({ added }: TokenizerFiles): Map<number, Token[]> {
  const ids = new Map(added.map(({ content, id }) => [content, id]));
  const vectors = new Map<number, Token[]>();
  for (const { content, id } of added) {
    const others: Token[] = [];
    for (let i = 1, other = ids.get(`${content}_1`); other !== undefined; other = ids.get(`${content}_${++i}`)) {
      others.push({ id: other, token: `${content}_${i}` });
    }
    if (others.length > 0) vectors.set(id, others);
  }
  return vectors;
}

/**
 * The pipeline of CLIP's tokenizer.json around a given vocabulary. Nothing but the vocabulary and the
 * merges is taken from a file: a foreign regular expression could run for ever.
 * White space is Unicode's, as in the Rust library: with U+0085 and without U+FEFF, unlike JavaScript's (the library reads \s so).
 */
function createBpe({ vocab, merges, added, eos }: TokenizerFiles): BpeTokenizer {
  const json = {
    // Of what is special, the library only makes what can be left out of decoded texts; ours keep everything. Files may ask for white
    // space beside a token to go (lstrip, rstrip), which is no token anyway; the library would strip JavaScript's, with U+FEFF.
    added_tokens: added.map((token) => ({ ...token, lstrip: false, rstrip: false, single_word: false, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: String.raw`\s+` }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+` },
          behavior: 'Removed',
          invert: true,
        },
        // Its own expression would only cut what is cut already, and by JavaScript's white space.
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: eos,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges,
    },
  };
  return new BpeTokenizer(json, {});
}
