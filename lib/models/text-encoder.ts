import path from 'node:path';
import { z } from 'zod';
import { count, epsilon, invalid, layers, parseConfig } from './parse';
import { type JsonObject, readJson } from './read-json';
import type { TextConfig } from './types';
import { findWeights, type WeightFiles } from './weights';

const KEYS = {
  used: {
    vocab_size: count.default(49408),
    hidden_size: count.default(512),
    intermediate_size: count.default(2048),
    num_hidden_layers: layers.default(12),
    num_attention_heads: count.default(8),
    max_position_embeddings: count.default(77),
    hidden_act: z.enum(['quick_gelu', 'gelu']).default('quick_gelu'),
    layer_norm_eps: epsilon.default(1e-5),
  },
  fixed: {
    model_type: ['clip_text_model'],
    architectures: [null, ['CLIPTextModel'], ['CLIPTextModelWithProjection']],
    is_decoder: [false],
    is_encoder_decoder: [false],
    add_cross_attention: [false],
    chunk_size_feed_forward: [0],
    tie_word_embeddings: [true, false],
  },
  ignored: [
    // Training and provenance. The picture is drawn from the last hidden states: no projection, no pooling,
    // so it does not matter which id ends a sentence either.
    ...['attention_dropout', 'dropout', 'initializer_factor', 'initializer_range', 'projection_dim'],
    ...['bos_token_id', 'eos_token_id', 'pad_token_id', 'dtype', 'torch_dtype', 'transformers_version'],
    ...['return_dict', 'output_attentions', 'output_hidden_states', 'use_cache', 'id2label', 'label2id'],
    // What older transformers write into every config for text generation.
    ...['bad_words_ids', 'begin_suppress_tokens', 'decoder_start_token_id', 'diversity_penalty', 'do_sample'],
    ...['early_stopping', 'encoder_no_repeat_ngram_size', 'exponential_decay_length_penalty', 'finetuning_task'],
    ...['length_penalty', 'max_length', 'min_length', 'no_repeat_ngram_size', 'num_beam_groups', 'num_beams'],
    ...['num_return_sequences', 'output_scores', 'prefix', 'problem_type', 'pruned_heads', 'repetition_penalty'],
    ...['remove_invalid_values', 'return_dict_in_generate', 'sep_token_id', 'suppress_tokens', 'task_specific_params'],
    ...['temperature', 'tf_legacy_loss', 'tokenizer_class', 'top_k', 'top_p', 'torchscript', 'typical_p', 'use_bfloat16'],
  ],
};

/** Reads `text_encoder/` of a model folder. */
export async function readTextConfig(folder: string): Promise<TextConfig> {
  const file = path.join(folder, 'config.json');
  return { ...parseTextConfig(file, await readJson(file)), ...(await findWeights(folder, 'model')) };
}

/** @param file whose `json` it is, for messages */
export function parseTextConfig(file: string, json: JsonObject): Omit<TextConfig, keyof WeightFiles> {
  const config = parseConfig(file, json, KEYS);
  const { hidden_size: hiddenSize, num_attention_heads: heads } = config;
  if (hiddenSize % heads !== 0) {
    throw invalid(file, `"hidden_size" ${hiddenSize} is not a multiple of "num_attention_heads" ${heads}`);
  }
  return {
    vocabSize: config.vocab_size,
    hiddenSize,
    intermediateSize: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads,
    maxPositions: config.max_position_embeddings,
    activation: config.hidden_act,
    layerNormEps: config.layer_norm_eps,
  };
}
