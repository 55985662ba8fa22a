// Which subject a picture shows, in the space of a CLIP pair.
import { cosine } from 'cones';
import { mean, nearest, normalised } from './vectors.mjs';

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
    const each = this.#compare(embeddings, subject);
    return {
      nearest: mean(each.map((one) => Number(one.nearest))),
      image: mean(each.map(({ image }) => image)),
      text: mean(embeddings.map((one) => cosine(one, said))),
    };
  }

  /** `{ nearest, image }` of every picture. */
  async verdicts(files, subject) {
    return this.#compare(await this.#clip.embedImages(files), subject);
  }

  #compare(embeddings, subject) {
    const index = this.#subjects.indexOf(subject);
    return embeddings.map((one) => ({
      nearest: nearest(one, this.#centres) === index,
      image: mean(this.#own[index].map((own) => cosine(one, own))),
    }));
  }
}
