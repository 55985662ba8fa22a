/** Which files of a model are needed: what lib/models reads, each once, in the smallest form that it has. */
import { ConesError } from '../../errors';
import { brief } from '../../util/show';
import type { JsonObject } from '../read-json';

export interface ModelFiles {
  /** Small: configs, tokenizers, indices of shards. */
  readonly configs: readonly string[];
  readonly weights: readonly string[];
}

export const INDEX = 'model_index.json';
/** Of a CLIP pair, at the repository's root. */
export const CONFIG = 'config.json';

/** Half the bytes first. */
const VARIANTS = ['.fp16', '', '.bf16'] as const;
/** By the library that saved a part, as model_index.json names it. */
const STEMS: Readonly<Record<string, string>> = { diffusers: 'diffusion_pytorch_model', transformers: 'model' };
/** What does not draw. */
const UNUSED = ['safety_checker', 'feature_extractor', 'image_encoder'];
const TOKENIZER = ['tokenizer.json', 'vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'];
/** Real ones have ten. */
const MOST_PARTS = 64;
/** Beside a model: `identifiers.json` is cones' own. */
const EXTRAS = ['identifiers.json'];

/**
 * @param paths of the repository, or of what the cache has of it
 * @param index its model_index.json; undefined: it has none
 * @throws ConesError CONES_MODEL_NOT_FOUND naming what is missing, CONES_CONFIG_INVALID
 */
export function chooseFiles(model: string, paths: ReadonlySet<string>, index: JsonObject | undefined): ModelFiles {
  const choice = new Choice(model, paths);
  if (index === undefined) {
    if (!paths.has(CONFIG)) throw choice.missing(`${INDEX} (nor ${CONFIG})`);
    choice.need(CONFIG);
    choice.take('preprocessor_config.json');
    choice.takeTokenizer('');
    choice.takeWeights('', STEMS['transformers']!);
    return choice;
  }
  choice.need(INDEX);
  EXTRAS.forEach((name) => choice.take(name));
  const parts = Object.entries(index);
  if (parts.length > MOST_PARTS) throw new ConesError('CONES_CONFIG_INVALID', `${INDEX} of ${model} has more than ${MOST_PARTS} entries.`);
  for (const [part, entry] of parts) {
    const [library, className] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof library !== 'string' || typeof className !== 'string' || UNUSED.includes(part) || !/^\w+$/.test(part)) continue;
    const folder = `${part}/`;
    const stem = Object.hasOwn(STEMS, library) ? STEMS[library]! : undefined;
    if (part.startsWith('tokenizer')) choice.takeTokenizer(folder);
    else if (part === 'scheduler') choice.need(`${folder}scheduler_config.json`);
    else if (stem !== undefined) {
      choice.need(folder + CONFIG);
      choice.takeWeights(folder, stem);
    }
  }
  return choice;
}

class Choice implements ModelFiles {
  readonly configs: string[] = [];
  readonly weights: string[] = [];
  readonly #model: string;
  readonly #paths: ReadonlySet<string>;

  constructor(model: string, paths: ReadonlySet<string>) {
    this.#model = model;
    this.#paths = paths;
  }

  missing(what: string): ConesError {
    const single = [...this.#paths].filter((name) => !name.includes('/') && /\.(?:safetensors|ckpt)$/.test(name));
    const hint = single.length > 0 ? ` It has single files (${brief(single.slice(0, 3).join(', '))}): download one, and load it by its path.` : '';
    return new ConesError('CONES_MODEL_NOT_FOUND', `${this.#model} has no ${what}.${hint}`);
  }

  take(name: string): boolean {
    const found = this.#paths.has(name);
    if (found) this.configs.push(name);
    return found;
  }

  need(name: string): void {
    if (!this.take(name)) throw this.missing(name);
  }

  takeTokenizer(folder: string): void {
    const found = TOKENIZER.filter((name) => this.take(folder + name));
    const isWhole = found.includes('tokenizer.json') || (found.includes('vocab.json') && found.includes('merges.txt'));
    if (!isWhole) throw this.missing(`${folder}tokenizer.json (nor vocab.json and merges.txt)`);
  }

  /** One form of a part's weights. Where there is a single file and shards, the one that findWeights reads (weights.ts). */
  takeWeights(folder: string, stem: string): void {
    for (const variant of VARIANTS) {
      const single = `${folder}${stem}${variant}.safetensors`;
      const indices = variant === '' ? [`${folder}${stem}.safetensors.index.json`] : [`${folder}${stem}.safetensors.index${variant}.json`, `${folder}${stem}.safetensors${variant}.index.json`];
      for (const file of stem === 'model' ? [single, ...indices] : [...indices, single]) {
        if (!this.#paths.has(file)) continue;
        const shards = file === single ? [single] : this.#shards(folder, stem, variant);
        if (shards === undefined) continue;
        if (file !== single) this.configs.push(file);
        this.weights.push(...shards);
        return;
      }
    }
    const isPickled = [...this.#paths].some((name) => name.startsWith(folder) && name.endsWith('.bin'));
    throw this.missing(`${folder}${stem}.safetensors${isPickled ? ', only weights in .bin' : ''}`);
  }

  /** By their names, `model-00001-of-00002.safetensors` with the variant before or behind the numbers; undefined unless all are there. */
  #shards(folder: string, stem: string, variant: string): string[] | undefined {
    const shard = new RegExp(`^${folder}${stem}(${variant.replace('.', '\\.')})?-(\\d{5})-of-(\\d{5})(${variant.replace('.', '\\.')})?\\.safetensors$`);
    const found = [...this.#paths].flatMap((name) => {
      const match = shard.exec(name);
      return match !== null && (variant === '' || match[1] !== undefined || match[4] !== undefined) ? [{ name, count: Number(match[3]) }] : [];
    });
    return found.length > 0 && found.every(({ count }) => count === found.length) ? found.map(({ name }) => name).sort() : undefined;
  }
}
