/** What a drawing's prompts leave unused: concepts that none of them names, and negative prompts without guidance. */
import type { Concept, Subject } from '../concept';
import { identifierKey } from '../text/identifier-key';
import { findWord } from '../text/prompt';
import { brief } from '../util/show';
import type { Warning } from '../warning';
import { isGuided } from './guidance';

/** Of pictures that are drawn without guidance. */
export function unusedNegativePrompt(guidance: number, jobs: readonly { readonly negativePrompt: string }[]): Warning[] {
  if (jobs.every(({ negativePrompt }) => negativePrompt.trim() === '')) return [];
  const message = isGuided(guidance)
    ? 'The negative prompt has no effect: this model draws without it, or its imageGuidance is below 1. Leave the negative prompt out.'
    : `A guidance of ${guidance} is none, so the negative prompt has no effect: give a guidance above 1, or leave the negative prompt out.`;
  return [{ code: 'negative-prompt-unused', message }];
}

/** Identifiers of one concept that are told to be written wrongly. */
const MOST_EXAMPLES = 3;

interface Drawn {
  readonly prompt: string;
  readonly concepts: readonly Concept[];
  /** The subjects that the prompt names, or the negative one. */
  readonly named: readonly Subject[];
}

/** Concepts whose neurons are shut though no prompt that they were given with names one of their subjects. */
export function unnamedConcepts(pictures: readonly Drawn[]): Warning[] {
  const prompts = new Map<Concept, Set<string>>();
  const named = new Set<Concept>();
  for (const picture of pictures) {
    const keys = new Set(picture.named.map(({ identifier }) => identifierKey(identifier)));
    for (const concept of picture.concepts) {
      prompts.set(concept, (prompts.get(concept) ?? new Set()).add(picture.prompt));
      if (concept.subjects.some(({ identifier }) => keys.has(identifierKey(identifier)))) named.add(concept);
    }
  }
  return [...prompts].filter(([concept]) => !named.has(concept)).map(([concept, given]) => unnamed(concept, [...given]));
}

function unnamed({ subjects }: Concept, prompts: readonly string[]): Warning {
  const identifiers = subjects.map(({ identifier }) => identifier).join(' or ');
  const almost = subjects.flatMap(({ identifier }) => {
    const bare = withoutSigns(identifier);
    const found = bare !== '' && bare !== identifier ? firstWord(prompts, bare) : undefined;
    return found === undefined ? [] : [` "${found}" alone is plain text: write "${identifier}".`];
  });
  const { identifier, category } = subjects[0]!;
  const message = `No prompt names ${brief(identifiers)}, whose neurons are shut all the same: write "${identifier} ${category}" where it should be.${almost.slice(0, MOST_EXAMPLES).join('')}`;
  return { code: 'concept-unnamed', message };
}

/** "V1" of "V1*". No regular expression, which would go back and forth in long runs of signs. */
function withoutSigns(identifier: string): string {
  const characters = Array.from(identifier);
  const isWord = (character: string) => /[\p{L}\p{N}]/u.test(character);
  return characters.slice(characters.findIndex(isWord), characters.findLastIndex(isWord) + 1).join('');
}

function firstWord(prompts: readonly string[], word: string): string | undefined {
  for (const prompt of prompts) {
    const found = findWord(prompt, word);
    if (found !== undefined) return found;
  }
  return undefined;
}
