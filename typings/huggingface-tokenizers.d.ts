// The package's own types use relative imports without extensions, which TypeScript does not resolve
// for a CommonJS package like this one. These are the parts that cones uses.
declare module '@huggingface/tokenizers' {
  export interface Encoding {
    ids: number[];
    tokens: string[];
    attention_mask: number[];
  }

  export class Tokenizer {
    /** Parsed tokenizer.json and tokenizer_config.json. */
    constructor(tokenizer: object, config: object);
    encode(text: string, options?: { add_special_tokens?: boolean }): Encoding;
    decode(ids: number[], options?: { skip_special_tokens?: boolean }): string;
    tokenize(text: string, options?: { add_special_tokens?: boolean }): string[];
    token_to_id(token: string): number | undefined;
    id_to_token(id: number): string | undefined;
    get_vocab(withAddedTokens?: boolean): Map<string, number>;
  }
}
