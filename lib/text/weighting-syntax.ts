/** The syntax of other programs in which parts of a prompt weigh more or less, or load a LoRA. With `promptSyntax: 'plain'` it is text. */

/** A prompt's first characters; the text encoder reads a few hundred. */
const LOOKED_AT = 20_000;
const MOST_EXAMPLES = 3;

/** A run of brackets is looked at from its beginning only, so that time grows with the text's length and no faster. */
const SYNTAX = new RegExp(
  [
    String.raw`<(?:lora|lyco|lycoris|hypernet):[^<>]*>`, // <lora:name:0.8>
    String.raw`(?<!\()\(+[^()]*[^():\d\s]\s*:\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*\)+`, // (word:1.2); "(ratio 16:9)" is text
    String.raw`(?<!\()\({2,}[^()]*\){2,}`, // ((word))
    String.raw`\[[^[\]]+\]`, // [word], [a:b:0.5]
    String.raw`(?<!\{)\{{2,}[^{}]*\}{2,}`, // {{word}}
    String.raw`\)(?:\++|\d*\.\d+)`, // (word)++, (word)1.3
  ].join('|'),
  'giu',
);

/** The first places of a text that look like it, as they are written, but for those that `isWord` knows. */
export function findWeightingSyntax(text: string, isWord: (found: string) => boolean): string[] {
  const found = new Set<string>();
  for (const [match] of text.slice(0, LOOKED_AT).matchAll(SYNTAX)) {
    if (!isWord(match)) found.add(match);
    if (found.size === MOST_EXAMPLES) break;
  }
  return [...found];
}
