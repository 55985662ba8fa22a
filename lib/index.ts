/// <reference types="node" preserve="true" />
/** The package's public API. */
export { Clip, cosine } from './clip';
export type { ClipEmbedding, ClipOptions } from './clip';
export { Concept } from './concept';
export type { ConceptData, ConceptInfo, ConceptTensor, IdentifierEmbedding, LayerOverlap, Overlap, Subject } from './concept';
export { Engine } from './engine';
export type { EngineOptions, MemoryUse } from './engine';
export type { GenerateOptions, GenerateProgress, GenerateResult } from './engine/generate';
export { Generation } from './engine/generation';
export type { EncodeImageOptions, Moments, Pixels } from './engine/pictures';
export type { GeneratePlanOptions, MemoryPlan, RefinementPlanOptions, SearchPlanOptions } from './engine/plan';
export type { ConceptGradient, DenoiseOptions, Embeddings, GradientOptions, Latents, RowConcepts } from './engine/tensors';
export type { EncodedPrompts, EncodePromptOptions, Warning } from './engine/text';
export { AbortError, ConesError, ERROR_CODES } from './errors';
export type { ErrorCode } from './errors';
export type { BeforeAndAfter, PictureReport } from './find-concept/compare-pictures';
export type { SearchReport } from './find-concept/measure';
export type { FindConceptOptions, LayerSelection, ReportOptions, SearchProgress, Selection } from './find-concept/options';
export type { RefineConceptsOptions, RefineSubject } from './find-concept/refine-options';
export { ConceptSearch } from './find-concept/search';
export { GeneratedImage } from './generated-image';
export { makeGrid, readMetadata, saveImage } from './images';
export type { EncodeOptions, ImageFormat, ImageInput, Picture } from './images';
export { SAMPLER_NAMES } from './schedule';
export type { SamplerName } from './schedule';
export { readSubject } from './subject-folder';
export type { SubjectFolder } from './subject-folder';
export { version } from './version';
