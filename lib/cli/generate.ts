import type { Command } from 'commander';
import { chooseAdapters, chooseConcepts, compareEngines } from '../engine/draw-again';
import type { GenerateOptions } from '../engine/generate';
import { ConesError } from '../errors';
import { type PictureSettings, readPictureSettings } from '../images/picture-settings';
import { SAMPLER_NAMES } from '../diffusion/schedule';
import { addEngineFlags, addOutputFlags, type AllOptions, type EngineFlags, loadEngine, modelFolder, number, type OutputFlags, repeatable, seed } from './arguments';
import { loadAdapters } from './adapter-argument';
import { loadConcept } from './concept-argument';
import { type Io, printJson, printLines, printWarnings } from './io';
import { duration, ProgressBars } from './progress';
import { generatePrompts } from './prompts';
import { regionsOf } from './region-flag';
import { Rescue } from './rescue';
import { saveEach, saveGrid } from './save-pictures';
import { assertSavable } from './trial';

/** Options that have no flags: arrays, and what is called with them. */
type ForPrograms = 'latents' | 'embeddings' | 'negativeEmbeddings' | 'output' | 'onLatents' | 'onPreview' | 'previewEvery';

export interface GenerateFlags extends EngineFlags, OutputFlags {
  readonly output: string;
  readonly from?: string;
  readonly prompts?: string;
  readonly grid?: true;
  readonly columns?: number;
  readonly concept?: readonly string[];
  readonly adapter?: readonly string[];
  readonly negativePrompt?: string;
  readonly promptSyntax?: string;
  readonly count?: number;
  readonly seed?: number | bigint;
  readonly sampler?: string;
  readonly karras?: boolean;
  readonly steps?: number;
  readonly guidance?: number;
  readonly eta?: number;
  readonly width?: number;
  readonly height?: number;
  readonly batchSize?: number;
  readonly image?: string;
  readonly strength?: number;
  readonly mask?: string;
  readonly depth?: string;
  readonly imageGuidance?: number;
  readonly posterior?: 'mode' | 'sample';
  readonly region?: readonly string[];
  readonly feather?: number;
  readonly regionPrompt?: string;
  readonly embeddingNorm?: number;
}

/** `cones generate`: pictures of a prompt with the neurons of any number of concepts shut. */
export function addGenerate(program: Command, io: Io): void {
  const command = program
    .command('generate')
    .description('Draw pictures from a prompt.')
    .argument('[prompt]', 'what to draw, such as "a V1* cat on a beach"; not needed with --from or --prompts')
    .option('-o, --output <file>', 'picture to write (.png, .jpg, .webp); several are numbered: out-1.png, out-2.png …', 'out.png')
    .option('--grid', 'write several pictures side by side into one file')
    .option('--columns <n>', 'pictures per row of the grid (default: as square as possible)', number)
    .option('--from <picture>', 'draw this picture of cones again, from what its file says; other flags, and a prompt, go first')
    .option('--prompts <file>', 'draw the prompts of a file, a line each, or a JSON object with a prompt and options of its own; -: of stdin')
    .option('--concept <file>', 'concept whose neurons are zeroed; may be given several times; FILE.cones=V2* gives its subject another identifier', repeatable)
    .option('--adapter <file>', 'LoRA, word of textual inversion or weights of Custom Diffusion to draw with; may be given several times; FILE:0.8 takes that much of it', repeatable)
    .option('--negative-prompt <text>', 'what to avoid (default: "")')
    .option('--prompt-syntax <name>', 'weighted: (word:1.3), [word], BREAK and long prompts as in stable-diffusion-webui; plain: brackets are text (default: plain)')
    .option('--count <n>', 'pictures, with seeds seed, seed + 1, … (default: 1)', number)
    .option('--seed <n>', 'the same seed is the same picture (default: random, and printed)', seed)
    .option('--sampler <name>', `${SAMPLER_NAMES.join(', ')}, or such as "DPM++ 2M Karras" (default: the model's own)`)
    .option('--karras', "noise levels as Karras et al. space them (default: as the model's scheduler says)")
    .option('--steps <n>', 'UNet evaluations (default: 50)', number)
    .option('--guidance <scale>', 'scale of classifier-free guidance; up to 1: none (default: 7.5)', number)
    .option('--eta <n>', 'ddim only: noise, from 0 to 1 (default: 0)', number)
    .option('--width <pixels>', "a multiple of 8 (default: the model's own)", number)
    .option('--height <pixels>', "a multiple of 8 (default: the model's own)", number)
    .option('--image <file>', 'a picture to start from')
    .option('--strength <n>', 'how far from it, from 0 to 1 (default: 0.8, with --mask 1)', number)
    .option('--mask <file>', 'a picture of the same: white is painted anew, black is kept')
    .option('--depth <file>', 'for models with depth: a picture of how near things are, white is near')
    .option('--image-guidance <scale>', 'for models that follow instructions: how closely they keep to the picture (default: 1.5)', number)
    .option('--posterior <name>', 'latents of the picture: mode, or sample, by the seed (default: mode)')
    .option('--drafts <folder>', 'draw drafts, with another autoencoder for the same latents, such as taesd')
    .option('--region <place>', "where a subject is: V1*=x0,y0,x1,y1 in fractions of the picture, several times for more; or 'auto'", repeatable)
    .option('--feather <fraction>', "width of the regions' soft edges, of the picture's (default: 0.1)", number)
    .option('--region-prompt <which>', "how a region is drawn: alone (its own part of picture and prompt), own (the whole picture, without the others' identifiers) or whole (default: alone)")
    .option('--embedding-norm <factor>', "learned identifiers' embeddings are scaled down to so many times a word's length (default: as they are)", number)
    .option('--batch-size <n>', 'pictures per UNet call (default: 4)', number);
  addEngineFlags(command);
  addOutputFlags(command, { long: true });
  command.action((prompt: string | undefined, flags: GenerateFlags) => generate(prompt, flags, io));
}

async function generate(prompt: string | undefined, flags: GenerateFlags, io: Io): Promise<void> {
  if (flags.prompts !== undefined) {
    const other = prompt !== undefined ? 'a prompt' : flags.from !== undefined ? '--from' : flags.grid ? '--grid' : undefined;
    if (other) throw new ConesError('CONES_OPTION_INVALID', `--prompts does not go with ${other}: choose one.`);
    return generatePrompts(flags.prompts, flags, io);
  }
  const start = performance.now();
  const { output, grid, columns } = flags;
  const from = flags.from === undefined ? undefined : await readPictureSettings(flags.from);
  const given = await Promise.all((flags.concept ?? []).map(loadConcept));
  const concepts = from ? chooseConcepts(from, given) : given;
  if (from) assertInputs(from, flags);
  const drawing = settingsOf(prompt, flags, from);
  await assertSavable({ output, grid, columns, ...drawing, concepts }, () => modelFolder(flags, io));

  await using engine = await loadEngine(flags, io);
  using bars = new ProgressBars(io);
  const loaded = await loadAdapters(engine, flags.adapter, io.signal);
  const adapters = from ? chooseAdapters(from, loaded) : loaded;
  const elsewhere = from ? compareEngines(from, engine) : [];
  const options = { ...drawing, concepts, adapters, batchSize: flags.batchSize } satisfies AllOptions<Omit<GenerateOptions, ForPrograms>>;
  const { images, warnings: found } = await engine.generate({
    ...(options as GenerateOptions),
    onProgress: ({ step, steps, remainingMs }) => bars.update({ phase: 'draw', step, steps, remainingMs }),
    signal: io.signal,
  });
  bars.stop();
  const warnings = [...engine.warnings, ...elsewhere, ...found];

  const rescue = new Rescue();
  const files = grid ? await saveGrid(rescue, output, images, columns) : await saveEach(rescue, output, images);
  printWarnings(io, warnings);
  const milliseconds = Math.round(performance.now() - start);
  const pictures = images.map(({ metadata, width, height }, i) => ({ file: files[i]!, width, height, metadata }));
  if (flags.json) {
    printJson(io, { pictures, warnings, milliseconds, peakMemory: engine.memory().peak });
  } else {
    printLines(io, [...pictures.map(({ file, metadata }) => `${file}  seed ${metadata['seed']}`), duration(milliseconds)]);
  }
  rescue.assertUnneeded();
}

/** What a picture was drawn from, its file does not hold. Another one may be given: that is another picture. */
function assertInputs({ drawnFrom }: PictureSettings, flags: GenerateFlags): void {
  const missing = (['image', 'mask', 'depth'] as const).find((name) => drawnFrom[name] !== undefined && flags[name] === undefined);
  if (missing) throw new ConesError('CONES_PICTURE_MISMATCH', `The picture was drawn from another, which its file does not hold: give it with --${missing}.`);
}

/** What the flags say, and what they leave out as the picture has it. */
function settingsOf(prompt: string | undefined, flags: GenerateFlags, from: PictureSettings | undefined) {
  const own: Partial<PictureSettings['options']> = from?.options ?? {};
  const wanted = prompt ?? own.prompt;
  if (wanted === undefined) throw new ConesError('CONES_OPTION_INVALID', 'Say what to draw, such as "a cat on the beach", or give a picture with --from.');
  const sampler = flags.sampler ?? own.sampler;
  return {
    prompt: wanted,
    negativePrompt: flags.negativePrompt ?? own.negativePrompt,
    promptSyntax: flags.promptSyntax ?? own.promptSyntax,
    count: flags.count ?? own.count,
    seed: flags.seed ?? own.seed,
    sampler,
    steps: flags.steps ?? own.steps,
    guidance: flags.guidance ?? own.guidance,
    // What belongs to the picture's own sampler only.
    eta: flags.eta ?? (sampler === own.sampler ? own.eta : undefined),
    useKarrasSigmas: flags.karras ?? (sampler === own.sampler ? own.useKarrasSigmas : undefined),
    width: flags.width ?? own.width,
    height: flags.height ?? own.height,
    image: flags.image,
    mask: flags.mask,
    depth: flags.depth,
    decoder: flags.drafts === undefined ? own.decoder : ('drafts' as const),
    // They say something of a picture to start from.
    strength: flags.strength ?? (flags.image === undefined ? undefined : own.strength),
    imageGuidance: flags.imageGuidance ?? (flags.image === undefined ? undefined : own.imageGuidance),
    posterior: flags.posterior ?? (flags.image === undefined ? undefined : own.posterior),
    regions: flags.region ? regionsOf(flags.region) : own.regions,
    feather: flags.feather ?? own.feather,
    regionPrompt: flags.regionPrompt ?? own.regionPrompt,
    embeddingNorm: flags.embeddingNorm ?? own.embeddingNorm,
  };
}
