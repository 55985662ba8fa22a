import { weightsOf } from './header';
import { intersection } from './sets';
import type { ConceptTensor } from './types';

/**
 * How far two sets of concept neurons A and B coincide (paper §3.3, "Disentanglement of Concept Neurons",
 * and Fig. 4).
 */
export interface Overlap {
  /** |A| and |B|. */
  readonly neurons: readonly [number, number];
  /** |A ∩ B| */
  readonly shared: number;
  /** |A ∪ B| */
  readonly union: number;
  /** Jaccard index |A ∩ B| / |A ∪ B|; 0 when both are empty. */
  readonly jaccard: number;
  /**
   * |A ∩ B| / (|A| + |B|): shared neurons as a fraction of all that the two sets store; 0 when both are
   * empty. The paper's "merely 2.42 % of the total concept neurons" may be this or `jaccard`, it does not
   * say; so small, they hardly differ (2.42 % of one is 2.48 or 2.36 % of the other).
   */
  readonly sharedFraction: number;
  /** |A| |B| / weights: neurons that two random sets of these sizes share on average, to judge `shared` by. */
  readonly expectedShared: number;
}

export interface LayerOverlap extends Overlap {
  /** The weight's name. */
  readonly name: string;
}

export function tensorOverlap(name: string, a: ConceptTensor, b: ConceptTensor): LayerOverlap {
  const shared = intersection(a.indices, b.indices).length;
  const expectedShared = (a.indices.length * b.indices.length) / weightsOf(a.shape);
  return { name, ...overlap([a.indices.length, b.indices.length], shared, expectedShared) };
}

export function totalOverlap(layers: readonly Overlap[]): Overlap {
  const sum = (value: (layer: Overlap) => number) => layers.reduce((total, layer) => total + value(layer), 0);
  return overlap([sum((l) => l.neurons[0]), sum((l) => l.neurons[1])], sum((l) => l.shared), sum((l) => l.expectedShared));
}

function overlap(neurons: readonly [number, number], shared: number, expectedShared: number): Overlap {
  const stored = neurons[0] + neurons[1];
  const union = stored - shared;
  return {
    neurons,
    shared,
    union,
    jaccard: union ? shared / union : 0,
    sharedFraction: stored ? shared / stored : 0,
    expectedShared,
  };
}
