/** Captions of many things, whose results a merge should leave as they are. */
const THINGS: readonly string[] = [
  ...['dog', 'cat', 'horse', 'bird', 'fish', 'flower', 'tree', 'car', 'bicycle', 'boat', 'train', 'house', 'bridge', 'castle', 'church', 'street'],
  ...['chair', 'table', 'lamp', 'sofa', 'clock', 'cup', 'bottle', 'plate of food', 'cake', 'apple', 'bread', 'shirt', 'hat', 'shoe', 'bag', 'toy'],
  ...['teddy bear', 'book', 'guitar', 'piano', 'phone', 'computer', 'camera', 'man', 'woman', 'child', 'crowd', 'soldier', 'dancer', 'king', 'robot', 'dragon'],
  ...['mountain', 'river', 'lake', 'forest', 'desert', 'beach', 'waterfall', 'garden', 'field', 'sky', 'moon', 'city', 'village', 'market', 'kitchen', 'room'],
];
const SCENES: readonly string[] = [
  ...['a photo of a {}', 'a painting of a {} by an old master', 'two of the same {} side by side', 'a small red {} on a wooden floor', 'a {} in the snow at night'],
  ...['close-up of a blue {}, studio light', 'a pencil drawing of the {}', 'an old {} in front of the Eiffel tower', 'the {} on the beach at sunset', 'a man holding a golden {}'],
];

export const REGULAR_CAPTIONS: readonly string[] = THINGS.flatMap((thing) => SCENES.map((scene) => scene.replace('{}', thing)));
