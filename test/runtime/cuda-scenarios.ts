// What runs in child processes with the emulated CUDA library (cuda.test.ts): node -r register.cjs cuda-scenarios.ts <name>. Each
// prints one line of JSON at its end.
import type { Engine} from '../../lib';
import { Clip, type ConceptSearch, listDevices, readMetadata } from '../../lib';
import { native } from '../../lib/native';
import { conceptOf, load, MODEL, pictures, rejection, searchOptions } from './model';

const CLIP = `${MODEL}/../../../../models/mini-clip`;
const latents = { data: Float32Array.from(native().randomNormal(7n, 0, 512)), shape: [2, 4, 8, 8] } as const;
const target = native().randomNormal(8n, 0, 512);

/** ‖a − b‖ / ‖b‖ */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return a.length === b.length ? Math.sqrt(error / size) : Infinity;
}

const outcome = async (promise: PromiseLike<unknown>) => {
  const { code, message } = await rejection(promise);
  return { code, message };
};

/** Everything that an engine computes, for comparison. */
async function results(engine: Engine) {
  const concept = conceptOf(engine, 0);
  const texts = await engine.encodePrompt(['a cat', 'a V1* cat'], { concepts: [concept] });
  const kv = engine.kvTensors[0]!.name;
  const gradient = await engine.conceptGradient(latents, [10, 700], texts, { target, tensors: [kv, 'conv_in.weight'], concepts: [[], [concept]] });
  const { images } = await engine.generate({ prompt: 'a cat', steps: 2, seed: 3 });
  return {
    text: texts.data,
    denoise: await engine.denoise(latents, [10, 700], texts),
    masked: await engine.denoise(latents, [10, 700], texts, { concepts: [[concept], []] }),
    kvGradient: gradient.gradients.get(kv)!,
    weightGradient: gradient.gradients.get('conv_in.weight')!,
    decode: await engine.decode(latents),
    encode: (await engine.encodeImage(await pictures(2))).data,
    picture: images[0]!.data,
  };
}

const SCENARIOS: Record<string, () => Promise<unknown>> = {
  async compare() {
    await using cpu = await load({ device: 'cpu' });
    const expected = await results(cpu);
    const compared: Record<string, unknown> = {};
    for (const precision of ['fp16', 'bf16'] as const) {
      await using cuda = await load({ device: 'cuda', precision });
      const found = await results(cuda);
      compared[precision] = Object.fromEntries(Object.entries(found).map(([name, values]) => [name, difference(values, expected[name as keyof typeof expected])]));
    }
    return compared;
  },

  /** Places, and what pictures and the CLIP pair say of them. */
  async places() {
    await using engine = await load({ device: 'auto' });
    const { images } = await engine.generate({ prompt: 'a cat', steps: 1, seed: 3 });
    const metadata = await readMetadata(await images[0]!.toBuffer());
    const again = (await engine.generate({ prompt: 'a cat', steps: 1, seed: 3, count: 2 })).images[0]!;
    await using clip = await Clip.load(CLIP, { device: 'cuda:0', precision: 'bf16', threads: 1 });
    await using cpuClip = await Clip.load(CLIP, { device: 'cpu', threads: 1 });
    const embeddings = await Promise.all([clip, cpuClip].map(async (pair) => [...(await pair.embedTexts(['a cat']))[0]!, ...(await pair.embedImages(await pictures(1)))[0]!]));
    return {
      devices: await listDevices(),
      engine: [engine.device, engine.precision, engine.warnings],
      clip: [clip.device, clip.precision, cpuClip.device, cpuClip.precision],
      metadata: [metadata['device'], metadata['precision']],
      sameBytes: Buffer.compare(images[0]!.data, again.data) === 0,
      clipDifference: difference(embeddings[0]!, embeddings[1]!),
      limit: engine.memory().limit,
      fp32: await outcome(load({ device: 'cuda', precision: 'fp32' })),
      autoFp32: await load({ precision: 'fp32' }).then(({ device }) => device),
      cpuFp16: await outcome(load({ device: 'cpu', precision: 'fp16' })),
      second: await outcome(load({ device: 'cuda:1' })),
    };
  },

  async find() {
    await using engine = await load({ device: 'cuda' });
    await using cpu = await load({ device: 'cpu' });
    await using bf16 = await load({ device: 'cuda', precision: 'bf16' });
    const options = await searchOptions({ steps: 4, report: { rows: 2, pictures: 1, steps: 2, clip: null } });
    const whole = await engine.findConcept(options);
    const half = await engine.startSearch(options);
    await half.run(2);
    const state = await half.save();
    half.dispose();
    const resumed: ConceptSearch = await engine.startSearch({ ...options, resume: state });
    await resumed.run();
    const concept = await resumed.finish();
    const { images } = await engine.generate({ prompt: 'a V1* cat', concepts: [concept], steps: 2, seed: 1 });
    const elsewhere = await cpu.findConcept(options);
    const own = await cpu.startSearch({ ...options, steps: 1 });
    await own.run();
    const cpuState = await own.save();
    const { device, precision, density } = concept.info();
    return {
      equal: concept.equals(whole) && Buffer.compare(concept.toBuffer(), whole.toBuffer()) === 0,
      place: { device, precision, density },
      cpuPlace: [elsewhere.device, elsewhere.info().device, elsewhere.info().precision],
      pictures: images.length,
      cpuDraws: (await cpu.generate({ prompt: 'a V1* cat', concepts: [concept], steps: 1 })).images.length,
      onCpu: await outcome(cpu.startSearch({ ...options, resume: state })),
      onBf16: await outcome(bf16.startSearch({ ...options, resume: state })),
      cpuStateOnCuda: await outcome(engine.startSearch({ ...options, resume: cpuState })),
    };
  },

  async lost() {
    await using engine = await load({ device: 'cuda' });
    const search = await engine.startSearch(await searchOptions());
    process.env['CONES_CUDA_EMULATED_LOST'] = '1';
    const first = await outcome(engine.decode(latents));
    delete process.env['CONES_CUDA_EMULATED_LOST'];
    const later = await Promise.all([engine.decode(latents), engine.generate({ prompt: 'a cat', steps: 1 }), search.run(), search.save()].map(outcome));
    const auto = await load();
    await auto.decode(latents);
    await auto.dispose();
    await engine.dispose();
    return { first, later: later.map(({ code }) => code), auto: auto.device, after: (await outcome(engine.decode(latents))).code };
  },

  /** Without the library. */
  async none() {
    await using engine = await load();
    return {
      devices: await listDevices(),
      auto: [engine.device, engine.precision, engine.warnings],
      cuda: await outcome(load({ device: 'cuda' })),
      clip: await outcome(Clip.load(CLIP, { device: 'cuda' })),
      plan: await outcome(load({ device: 'cuda', planOnly: true })),
    };
  },

  /** With a card that has no room for the weights. */
  async full() {
    await using engine = await load();
    return { auto: [engine.device, engine.warnings], cuda: await outcome(load({ device: 'cuda' })) };
  },

  async plan() {
    const memoryLimit = 2 ** 30;
    const plans = (engine: Engine) => [engine.memory().weights, engine.planGenerate({ count: 4 }), engine.planSearch(), engine.planRefinement()];
    const same: boolean[] = [];
    for (const device of ['cpu', 'cuda'] as const) {
      await using planner = await load({ device, planOnly: true, memoryLimit });
      await using engine = await load({ device, memoryLimit });
      same.push(JSON.stringify(plans(planner)) === JSON.stringify(plans(engine)));
      same.push(planner.fingerprint === engine.fingerprint);
    }
    await using planner = await load({ device: 'cuda', planOnly: true });
    return { same, refused: await outcome(planner.generate({ prompt: 'a cat' })), place: [planner.device, planner.precision, planner.memory().limit] };
  },
};

void SCENARIOS[process.argv[2]!]!().then((result) => console.log(JSON.stringify(result)));
