/** The answer of GetObjectTagging: the tag set of an object that has no tags. */
import { document, element } from './writer.ts';

export function emptyTagging(): string {
  return document('Tagging', element('TagSet'));
}
