/** A public access block: body of PutPublicAccessBlock, answer of its reader. */
import type { PublicAccessBlock } from '../access/public-access-block.ts';
import { allowOnly, childText, malformedXml, readXml, type XmlNode } from './reader.ts';
import { document, text } from './writer.ts';

export function publicAccessBlockConfiguration(block: PublicAccessBlock): string {
  return document(
    'PublicAccessBlockConfiguration',
    text('BlockPublicAcls', block.blockPublicAcls),
    text('IgnorePublicAcls', block.ignorePublicAcls),
    text('BlockPublicPolicy', block.blockPublicPolicy),
    text('RestrictPublicBuckets', block.restrictPublicBuckets),
  );
}

/** What is not said is false. Throws MalformedXML. */
export function readPublicAccessBlockConfiguration(xml: string): PublicAccessBlock {
  const root = readXml(xml, { root: 'PublicAccessBlockConfiguration', arrays: [] });
  allowOnly(root, [
    'BlockPublicAcls',
    'IgnorePublicAcls',
    'BlockPublicPolicy',
    'RestrictPublicBuckets',
  ]);
  return {
    blockPublicAcls: flag(root, 'BlockPublicAcls'),
    ignorePublicAcls: flag(root, 'IgnorePublicAcls'),
    blockPublicPolicy: flag(root, 'BlockPublicPolicy'),
    restrictPublicBuckets: flag(root, 'RestrictPublicBuckets'),
  };
}

function flag(root: XmlNode, name: string): boolean {
  const value = childText(root, name)?.trim().toLowerCase() ?? 'false';
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw malformedXml(`${name} must be true or false`);
}
