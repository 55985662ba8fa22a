import type { GeneratedImage } from '../images/generated-image';
import { makeGrid, saveImage } from '../images/images';
import type { Rescue } from './rescue';
import { GAP, pictureFiles } from './trial';

/** One after another: hundreds of files at once are more than a process may have open. */
export async function saveEach(rescue: Rescue, output: string, images: readonly GeneratedImage[]): Promise<string[]> {
  const files = pictureFiles(output, images.length);
  for (const [i, image] of images.entries()) {
    files[i] = (await rescue.save(files[i]!, (file) => image.save(file))) ?? files[i]!;
  }
  return files;
}

export async function saveGrid(rescue: Rescue, output: string, images: readonly GeneratedImage[], columns: number | undefined): Promise<string[]> {
  const seed = images.map((image) => image.seed).join(', ');
  const grid = makeGrid(images, columns, GAP);
  const saved = await rescue.save(output, (file) => saveImage(file, grid, { metadata: { ...images[0]!.metadata, seed } }));
  return images.map(() => saved ?? output);
}
