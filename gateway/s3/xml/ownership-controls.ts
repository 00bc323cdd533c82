/** Who owns the objects of a bucket: body of PutBucketOwnershipControls, answer of its reader. */
import { isObjectOwnership, type ObjectOwnership } from '../access/ownership.ts';
import { allowOnly, childrenNamed, malformedXml, readXml, requiredText } from './reader.ts';
import { document, element, text } from './writer.ts';

export function ownershipControls(ownership: ObjectOwnership): string {
  return document('OwnershipControls', element('Rule', text('ObjectOwnership', ownership)));
}

/** Throws MalformedXML. */
export function readOwnershipControls(xml: string): ObjectOwnership {
  const root = readXml(xml, { root: 'OwnershipControls', arrays: [] });
  allowOnly(root, ['Rule']);
  const [rule] = childrenNamed(root, 'Rule');
  if (rule === undefined) throw malformedXml('OwnershipControls needs Rule');
  allowOnly(rule, ['ObjectOwnership']);
  const ownership = requiredText(rule, 'ObjectOwnership').trim();
  if (!isObjectOwnership(ownership)) throw malformedXml('ObjectOwnership is none that there is');
  return ownership;
}
