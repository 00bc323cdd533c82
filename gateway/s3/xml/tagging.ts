/** A set of tags: body of PutObjectTagging and PutBucketTagging, answer of their readers. */
import type { Tag } from '../../../meta/protocol.ts';
import { allowOnly, childrenNamed, malformedXml, readXml, requiredText } from './reader.ts';
import { document, element, text } from './writer.ts';

/** In the order of the keys, as AWS returns them. */
export function tagging(tags: readonly Tag[]): string {
  const sorted = tags.toSorted((left, right) => (left.key < right.key ? -1 : 1));
  let set = '';
  for (const { key, value } of sorted)
    set += element('Tag', text('Key', key), text('Value', value));
  return document('Tagging', element('TagSet', set));
}

/** Exactly as sent, in order. Throws MalformedXML. */
export function readTagging(xml: string): Tag[] {
  const root = readXml(xml, { root: 'Tagging', arrays: ['Tag'] });
  allowOnly(root, ['TagSet']);
  const [set] = childrenNamed(root, 'TagSet');
  if (set === undefined) throw malformedXml('Tagging needs TagSet');
  if (set.text.trim() !== '') throw malformedXml('TagSet must hold Tag elements');
  allowOnly(set, ['Tag']);
  return childrenNamed(set, 'Tag').map((tag) => {
    allowOnly(tag, ['Key', 'Value']);
    return { key: requiredText(tag, 'Key'), value: requiredText(tag, 'Value') };
  });
}
