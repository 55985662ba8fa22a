// conceptGradient with a mask per row, with respect to the masked weights and to the weights, against PyTorch (test/goldens/models).
import path from 'node:path';
import { Concept } from '../../lib';
import { Admission } from '../../lib/engine/admission';
import { Session } from '../../lib/engine/session';
import { conceptGradient, type GradientOptions } from '../../lib/engine/tensors';
import { loadModelConfig, readUNetConfig } from '../../lib/models';
import { native } from '../../lib/native';
import { Tokenizer } from '../../lib/text/tokenizer';
import { Golden } from '../goldens/golden';
import { MODEL } from '../runtime/model';

const models = path.join(__dirname, '../goldens/models');
const tiny = new Golden(path.join(models, 'unet-tiny'));
const golden = new Golden(path.join(models, 'unet-tiny-masked'));
const [batch] = tiny.shape('sample') as [number];

let session: Session;
let rows: Concept[];
beforeAll(async () => {
  const config = { ...(await loadModelConfig(MODEL)), unet: await readUNetConfig(path.join(models, 'unet-tiny/unet')) };
  const { unet, text, vae } = config;
  const model = await native().loadModel({ unet, text, vae, threads: 1, memoryLimit: 2 ** 30 });
  const tokenizer = await Tokenizer.load(config.tokenizer, { maxPositions: text.maxPositions, vocabSize: text.vocabSize });
  session = await Session.open({ model, config, tokenizer, rareTokens: [], threads: 1, allowPaths: true, admission: new Admission({ limits: {} }) });
  rows = Array.from({ length: batch }, (_, b) =>
    Concept.create({
      ...{ fingerprint: session.fingerprint, subjects: [{ identifier: 'V1*', token: 'q', category: 'cat' }], method: 'test', steps: 0, engineVersion: 'test' },
      tensors: new Map(session.kvTensors.map(({ name, shape }) => [name, { shape, indices: Uint32Array.from(tiny.data(`mask.${b}.${name}`)) }])),
    }),
  );
});
afterAll(() => session.dispose());

const values = (name: string) => Float32Array.from(tiny.data(name));
const gradient = (options: Partial<GradientOptions>) =>
  conceptGradient(
    session,
    { data: values('sample'), shape: tiny.shape('sample') as [number, number, number, number] },
    [...tiny.data('timesteps')],
    { data: values('encoder_hidden_states'), shape: tiny.shape('encoder_hidden_states') as [number, number, number] },
    { target: values('target'), weights: [...tiny.data('weights')], wantLatents: true, wantEmbeddings: true, ...options },
  );

test.each(['masked', 'weights'] as const)('with respect to: %s', async (withRespectTo) => {
  const { loss, latents, embeddings, gradients } = await gradient({ concepts: rows.map((concept) => [concept]), withRespectTo });
  const verdicts = [
    tiny.judge('masked.loss', [loss]),
    tiny.judge('masked.grad.sample', latents!),
    tiny.judge('masked.grad.encoder_hidden_states', embeddings!),
    ...session.kvTensors.map(({ name }) => golden.judge(`grad.${withRespectTo}.${name}`, gradients.get(name)!)),
  ];
  expect(verdicts.filter(({ ok }) => !ok)).toEqual([]);
});

test('the weights of one mask for all rows: the masked gradient where it is kept, and 0 where it is shut', async () => {
  const [concept] = rows as [Concept];
  const [masked, weights] = await Promise.all((['masked', 'weights'] as const).map((withRespectTo) => gradient({ concepts: concept, withRespectTo })));
  for (const [name, { indices }] of concept.tensors) {
    const wanted = masked!.gradients.get(name)!.slice();
    expect(indices.every((index) => wanted[index] !== 0)).toBe(true);
    for (const index of indices) wanted[index] = 0;
    expect(weights!.gradients.get(name)).toEqual(wanted);
  }
  expect(weights!.rows).toEqual(masked!.rows);
});

test('without concepts, and for weights that concepts do not touch, both are the same', async () => {
  const tensors = ['conv_in.weight', session.kvTensors[0]!.name];
  for (const concepts of [undefined, [[], null]]) {
    const [masked, weights] = await Promise.all((['masked', 'weights'] as const).map((withRespectTo) => gradient({ concepts, tensors, withRespectTo })));
    expect(weights).toEqual(masked);
  }
});
