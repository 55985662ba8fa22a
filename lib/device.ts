/** Where to compute, and how precisely: the options that `Engine.load` and `Clip.load` share. docs/guide/gpu.md */
import os from 'node:os';
import { z } from 'zod';
import type { NativePlace } from '../typings/native';
import { defaultMemoryLimit, hostMemory } from './util/default-memory-limit';
import { fromNative, native } from './native';

export type Precision = 'fp32' | 'fp16' | 'bf16';

export interface DeviceOptions {
  /**
   * 'cuda' is the first GPU that will do, 'cuda:1' the second of {@link listDevices}. 'auto' takes a GPU that will do and has room for
   * the weights, else the CPU. Default 'auto'.
   */
  readonly device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;
  /** Of weights and activations: the CPU has 'fp32', GPUs 'fp16' and 'bf16'. Default 'auto': fp32 on the CPU, fp16 on a GPU. */
  readonly precision?: 'auto' | Precision;
  /** Threads of the CPU. Default: as many as the process may use. */
  readonly threads?: number;
  /**
   * Bytes of the device that weights and activations may take together; a job that needs more is refused before it starts
   * (CONES_OUT_OF_MEMORY). Default: 90 % of the machine's or the container's memory, of a GPU 90 % of what is free when the model is
   * loaded.
   */
  readonly memoryLimit?: number;
}

/** The schema of {@link DeviceOptions}. */
export const deviceOptions = {
  device: z
    .string()
    .regex(/^(auto|cpu|cuda(:(0|[1-9]\d{0,2}))?)$/, "must be 'auto', 'cpu', 'cuda' or 'cuda:N'")
    .default('auto'),
  precision: z.enum(['auto', 'fp32', 'fp16', 'bf16']).default('auto'),
  threads: z.int().min(1).max(1024).optional(),
  memoryLimit: z.int().min(1).optional(),
};

/** The options as the addon takes them. */
export function nativePlace({ device, precision, threads, memoryLimit }: z.output<z.ZodObject<typeof deviceOptions>>): NativePlace & { threads: number } {
  return {
    device,
    precision,
    threads: threads ?? os.availableParallelism(),
    hostMemory: defaultMemoryLimit(),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
  };
}

/** A device, or a GPU that cannot be used. */
export interface DeviceInfo {
  /** As the option `device` takes it: 'cpu', 'cuda:0'. 'cuda' where there is no GPU, or none that can be seen. */
  readonly device: string;
  /** 'NVIDIA H100 PCIe'; of the CPU its instruction set ('avx512', 'avx2' or 'scalar'); null where there is no GPU. */
  readonly name: string | null;
  /** Bytes in all; null where there is no GPU. */
  readonly memory: number | null;
  /** Why it cannot be used and what to do; null where it can. */
  readonly reason: string | null;
}

/**
 * The CPU and the GPUs of this machine.
 * @throws ConesError CONES_NATIVE_MISSING
 */
export async function listDevices(): Promise<DeviceInfo[]> {
  const devices = await fromNative(() => native().listDevices());
  return devices.map(({ device, name, memory, reason }) => ({
    device,
    name: name || null,
    memory: device === 'cpu' ? hostMemory() : memory || null,
    reason: reason || null,
  }));
}

/** 'cuda' of 'cuda:1': cards of one machine are as good as one another. */
export function kindOf(device: string): string {
  return device.replace(/:.*/s, '');
}
