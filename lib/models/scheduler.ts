import path from 'node:path';
import { z } from 'zod';
import { invalid, parseConfig, unsupported } from './parse';
import { type JsonObject, readJson } from './read-json';
import { refusedSamplers, SAMPLER_KEYS } from './sampler-keys';
import { type SamplerName, usableSampler } from '../diffusion/sampler-names';
import type { SchedulerConfig } from './types';

/**
 * The classes whose configs diffusers lets each other read, all variance-preserving noise schedules, with the samplers that they are
 * here; undefined: none, and pictures are drawn with the first that can do what the config asks for.
 */
const CLASSES: Readonly<Record<string, SamplerName | undefined>> = {
  DDIMScheduler: 'ddim',
  DDPMScheduler: undefined,
  DEISMultistepScheduler: 'deis-multistep',
  DPMSolverMultistepScheduler: 'dpm-solver-multistep',
  DPMSolverSDEScheduler: undefined,
  DPMSolverSinglestepScheduler: 'dpm-solver-singlestep',
  EulerAncestralDiscreteScheduler: 'euler-ancestral',
  EulerDiscreteScheduler: 'euler',
  HeunDiscreteScheduler: 'heun',
  KDPM2AncestralDiscreteScheduler: 'kdpm2-ancestral',
  KDPM2DiscreteScheduler: 'kdpm2',
  LCMScheduler: 'lcm',
  LMSDiscreteScheduler: 'lms',
  PNDMScheduler: 'pndm',
  TCDScheduler: 'tcd',
  UniPCMultistepScheduler: 'unipc-multistep',
};

const beta = z.number().positive().lt(1);

const KEYS = {
  used: {
    num_train_timesteps: z.int().min(2).max(100_000).default(1000),
    beta_start: beta.default(0.0001),
    beta_end: beta.default(0.02),
    beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
    trained_betas: z.array(beta).nullish(),
    prediction_type: z.enum(['epsilon', 'v_prediction']).default('epsilon'),
    set_alpha_to_one: z.boolean().nullish(),
    timestep_spacing: z.enum(['leading', 'linspace', 'trailing']).nullish(),
    rescale_betas_zero_snr: z.boolean().default(false),
    use_karras_sigmas: z.boolean().nullish(),
    original_inference_steps: z.int().min(1).max(100_000).default(50),
    timestep_scaling: z.number().min(0).max(1e6).default(10),
  },
  fixed: {},
  ignored: [
    // refusedSamplers() looks at them.
    ...SAMPLER_KEYS,
    // StableDiffusionPipeline sets them to false and 1, whatever the file says.
    ...['clip_sample', 'steps_offset'],
    // Of samplers that the engine does not have.
    ...['solver_p', 'noise_sampler_seed', 'shift_terminal'],
    // They belong to switches that are off (sampler-keys.ts), or change nothing when the last noise level is zero.
    ...['clip_sample_range', 'dynamic_thresholding_ratio', 'sample_max_value', 'flow_shift', 'time_shift_type'],
    ...['lower_order_final', 'euler_at_final'],
  ],
};

/** Reads `scheduler/` of a model folder. */
export async function readSchedulerConfig(folder: string): Promise<SchedulerConfig> {
  const file = path.join(folder, 'scheduler_config.json');
  return parseSchedulerConfig(file, await readJson(file));
}

/** @param file whose `json` it is, for messages */
export function parseSchedulerConfig(file: string, json: JsonObject): SchedulerConfig {
  const className = json['_class_name'];
  if (className !== undefined && !(typeof className === 'string' && Object.hasOwn(CLASSES, className))) {
    throw unsupported(file, '_class_name', className, Object.keys(CLASSES).join(', '));
  }
  const config = parseConfig(file, json, KEYS);
  const betas = config.trained_betas ?? null;
  if (betas !== null && betas.length !== config.num_train_timesteps) {
    throw invalid(file, `"trained_betas" has ${betas.length} entries; "num_train_timesteps" is ${config.num_train_timesteps}`);
  }
  const refused = refusedSamplers(file, json);
  return {
    numTrainTimesteps: config.num_train_timesteps,
    betaStart: config.beta_start,
    betaEnd: config.beta_end,
    betaSchedule: config.beta_schedule,
    trainedBetas: betas,
    predictionType: config.prediction_type,
    stepsOffset: 1,
    setAlphaToOne: config.set_alpha_to_one ?? null,
    timestepSpacing: config.timestep_spacing ?? null,
    rescaleBetasZeroSnr: config.rescale_betas_zero_snr,
    useKarrasSigmas: config.use_karras_sigmas ?? false,
    originalInferenceSteps: config.original_inference_steps,
    timestepScaling: config.timestep_scaling,
    sampler: usableSampler({ refused }, ownSampler(className as string | undefined, json)),
    refused,
  };
}

function ownSampler(className: string | undefined, json: JsonObject): SamplerName | undefined {
  const multistep = className === 'DPMSolverMultistepScheduler';
  return multistep && json['algorithm_type'] === 'sde-dpmsolver++' ? 'dpm-solver-multistep-sde' : CLASSES[className ?? ''];
}
