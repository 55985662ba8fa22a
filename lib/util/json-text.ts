/** JSON text, looked at in one pass before it is parsed. No regular expressions: a hostile text makes them go over it again and again. */

const QUOTE = '"'.charCodeAt(0);
const BACKSLASH = '\\'.charCodeAt(0);

/** The index behind the string whose opening quote is at `begin`; the text's length where it has no end. */
function stringEnd(json: string, begin: number): number {
  for (let i = begin + 1; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === QUOTE) return i + 1;
    if (code === BACKSLASH) i++;
  }
  return json.length;
}

/** How deep arrays and objects are nested. */
export function jsonDepth(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < json.length; ) {
    const char = json[i];
    if (char === '"') {
      i = stringEnd(json, i);
      continue;
    }
    if (char === '[' || char === '{') deepest = Math.max(deepest, ++depth);
    if (char === ']' || char === '}') depth--;
    i++;
  }
  return deepest;
}

/** Replaces Python's `Infinity` by 1e999, which is JSON for it. */
export function withoutPythonisms(json: string): string {
  const word = 'Infinity';
  if (!json.includes(word)) return json;
  let out = '';
  let copied = 0;
  for (let i = 0; i < json.length; ) {
    if (json[i] === '"') {
      i = stringEnd(json, i);
    } else if (json[i] === 'I' && json.startsWith(word, i) && !isWord(json[i - 1]) && !isWord(json[i + word.length])) {
      out += `${json.slice(copied, i)}1e999`;
      copied = i += word.length;
    } else {
      i++;
    }
  }
  return out + json.slice(copied);
}

function isWord(char: string | undefined): boolean {
  return char !== undefined && /\w/.test(char);
}
