// The prompt language of stable-diffusion-webui.
import { takeAdapterTags } from '../../lib/text/adapter-tags';
import { escapeWeights, refuseAnd, weighPieces } from '../../lib/text/emphasis';
import { weighStates } from '../../lib/text/weigh-states';

const invalid = expect.objectContaining({ code: 'CONES_OPTION_INVALID' }) as Error;
const parse = (text: string) => weighPieces([{ text }]).map((part) => (part === 'BREAK' ? part : [part.text, part.weight]));

describe('weights', () => {
  // The doctest of parse_prompt_attention in its modules/prompt_parser.py (commit 0674fab), to the last bit.
  test.each<[string, [string, number][]]>([
    ['normal text', [['normal text', 1]]],
    ['an (important) word', [['an ', 1], ['important', 1.1], [' word', 1]]],
    ['(unbalanced', [['unbalanced', 1.1]]],
    [String.raw`\(literal\]`, [['(literal]', 1]]],
    ['(unnecessary)(parens)', [['unnecessaryparens', 1.1]]],
    [
      'a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).',
      [['a ', 1], ['house', 1.5730000000000004], [' ', 1.1], ['on', 1], [' a ', 1.1], ['hill', 0.55], [', sun, ', 1.1], ['sky', 1.4641000000000006], ['.', 1.1]],
    ],
  ])('%s', (text, parts) => {
    expect(parse(text)).toEqual(parts);
  });

  // By the grammar: computed by hand.
  test.each<[string, unknown[]]>([
    ['', []],
    ['a) b] c', [['a) b] c', 1]]],
    ['cat:1.3) dog', [['cat:1.3) dog', 1]]],
    ['[cat', [['cat', 1 / 1.1]]],
    ['(a [b) c]', [['a ', 1.1], ['b', 1.1 * (1 / 1.1)], [' c', 1 / 1.1]]],
    ['(cat:-.5)(dog:+2.)(sky:0)', [['cat', -0.5], ['dog', 2], ['sky', 0]]],
    ['(a cat:red :1.2)', [['a cat:red ', 1.2]]],
    [String.raw`c:\\x \ y`, [[String.raw`c:\x  y`, 1]]],
    ['at 16:9 and {a|b}', [['at 16:9 and {a|b}', 1]]],
    ['(a|b)', [['a|b', 1.1]]],
    ['[(a|b)]', [['a|b', 1.1 * (1 / 1.1)]]],
    ['a BREAK b', [['a ', 1], 'BREAK', [' b', 1]]],
    ['(a BREAK b:1.2) BREAKS BREAK', [['a ', 1.2], 'BREAK', [' b', 1.2], [' BREAKS ', 1], 'BREAK', ['', 1]]],
  ])('%s', (text, parts) => {
    expect(parse(text)).toEqual(parts);
  });

  test('a subject is a part of its own, with the weight of what is around it, whatever signs are in its name', () => {
    const subject = { identifier: '[V]', token: 'sks', category: 'cat' };
    expect(weighPieces([{ text: '(a ' }, { text: 'sks', subject }, { text: ' cat:1.2), ' }, { text: 'sks', subject }])).toEqual([
      { text: 'a ', weight: 1.2 }, { text: 'sks', subject, weight: 1.2 }, { text: ' cat', weight: 1.2 }, { text: ', ', weight: 1 }, { text: 'sks', subject, weight: 1 },
    ]);
  });

  test.each([
    '(cat:1.2.3)', '(cat:.)', `(cat:${'9'.repeat(400)})`, '(cat:101)', '((cat:50):50)', '(cat:-101)',
    '('.repeat(100_000), '['.repeat(100_000), `${'('.repeat(100_000)}a${')'.repeat(100_000)}`, '(a '.repeat(65),
    '[a:b:0.5]', '[b:3]', '[b: .5]', '[a::5]', 'x [a|b] y', '[(a:1.1)|b]', '([a:b:1e-1])',
  ])('text %# is refused', (text) => {
    expect(() => parse(text)).toThrow(invalid);
  });

  test('AND joins prompts, in capitals alone', () => {
    expect(() => refuseAnd('a cat AND a dog')).toThrow(invalid);
    refuseAnd('a cat and a dog, on SAND, ANDROID, WAND_AND');
  });

  test('escaped, a text is its words', () => {
    const text = String.raw`f(x) [0:1] \(a\) (b:1.3)`;
    expect(parse(escapeWeights(text))).toEqual([[text, 1]]);
  });
});

describe('adapters', () => {
  test.each([
    ['a cat <lora:ink:0.8> on a mat', 'a cat  on a mat', [['ink', 0.8, 0.8]]],
    ['<lora:ink><LYCO:My style v1.0:0.5:1>', '', [['ink', 1, 1], ['My style v1.0', 1, 0.5]]],
    ['<lora:a:te=0.25:unet=-2><lora:b:0.5:unet=0>', '', [['a', -2, 0.25], ['b', 0, 0.5]]],
    ['<my-cat> <lora> <other:a:1>', '<my-cat> <lora> <other:a:1>', []],
  ])('%s', (prompt, text, adapters) => {
    expect(takeAdapterTags(prompt)).toEqual({ text, adapters: adapters.map(([name, weight, textWeight]) => ({ name, weight, textWeight })) });
  });

  test.each(['<lora:>', '<lora: :1>', '<lora:a:much>', '<lora:a:NaN>', '<lora:a:Infinity>', '<lora:a:1e9>', '<lora:a:>', '<lora:a>'.repeat(65)])('text %# is refused', (prompt) => {
    expect(() => takeAdapterTags(prompt)).toThrow(invalid);
  });
});

describe('weighing states', () => {
  test('keeps their mean', () => {
    // [2, 2], weights 1 and 3: 1 2 12 15 has mean 7.5, before it was 3
    expect(Array.from(weighStates(Float32Array.of(1, 2, 4, 5), [1, 3]))).toEqual([0.4, 0.8, 4.8, 6].map(Math.fround));
    expect(Array.from(weighStates(Float32Array.of(1, -1, 2, -2), [1, 3]))).toEqual([1, -1, 6, -6]);
  });

  test.each([[[0, 0]], [[1, -1]]])('refuses what leaves nothing: %j', (weights) => {
    expect(() => weighStates(Float32Array.of(1, 2, 1, 2), weights)).toThrow(invalid);
  });
});
