// Which subject a picture shows, in the space of a CLIP pair.
import { cosine } from 'cones';
import { mean, nearestShare, normalised } from './vectors.mjs';

export class Judge {
  #clip;
  #subjects;
  /** Per subject, the embeddings of its own pictures, and their direction. */
  #own;
  #centres;

  static async of(clip, subjects) {
    const judge = new Judge();
    judge.#clip = clip;
    judge.#subjects = subjects;
    judge.#own = [];
    for (const { images } of subjects) judge.#own.push(await clip.embedImages(images));
    judge.#centres = judge.#own.map(normalised);
    return judge;
  }

  /**
   * Means over pictures (files): `nearest`, the share of those to whose embedding this subject is nearest among all; `image`,
   * the cosine to the subject's own pictures; `text`, that to the prompt without the identifier (paper §4.1).
   */
  async measure(files, subject, text) {
    const embeddings = await this.#clip.embedImages(files);
    const [said] = await this.#clip.embedTexts([text]);
    const index = this.#subjects.indexOf(subject);
    return {
      nearest: nearestShare(embeddings, this.#centres, index),
      image: mean(embeddings.flatMap((one) => this.#own[index].map((own) => cosine(one, own)))),
      text: mean(embeddings.map((one) => cosine(one, said))),
    };
  }
}
