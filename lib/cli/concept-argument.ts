import { Concept } from '../concept';

/** `b.cones=V2*`: the concept of a file under another name, as concepts of different users need that both call theirs `V1*`. */
const NAMED = /^(.+\.cones)=(.*)$/is;

/** What a concept argument says: a file, or `FILE.cones=IDENTIFIER`. */
export async function loadConcept(argument: string): Promise<Concept> {
  const [, file = argument, identifier] = NAMED.exec(argument) ?? [];
  const concept = await Concept.load(file);
  return identifier === undefined ? concept : concept.withIdentifier(identifier);
}
