/** The default encryption of a bucket: body of PutBucketEncryption, answer of GetBucketEncryption. */
import type { BucketEncryption } from '../encryption/bucket-default.ts';
import { S3Error } from '../errors.ts';
import {
  allowOnly,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

const ROOT = 'ServerSideEncryptionConfiguration';

/** One rule, as on AWS; what is blocked is told only when something is. */
export function serverSideEncryptionConfiguration(encryption: BucketEncryption): string {
  const { algorithm, keyId, bucketKey, blocksCustomerKeys } = encryption;
  const byDefault =
    algorithm === undefined
      ? ''
      : element(
          'ApplyServerSideEncryptionByDefault',
          text('SSEAlgorithm', algorithm),
          text('KMSMasterKeyID', keyId),
        );
  const blocked = blocksCustomerKeys
    ? element('BlockedEncryptionTypes', text('EncryptionType', 'SSE-C'))
    : '';
  const key = text('BucketKeyEnabled', bucketKey ?? false);
  return document(ROOT, element('Rule', byDefault, key, blocked));
}

/** Throws MalformedXML, InvalidArgument, and NotImplemented for two layers of encryption. */
export function readServerSideEncryptionConfiguration(xml: string): BucketEncryption {
  const root = readXml(xml, { root: ROOT, arrays: ['Rule', 'EncryptionType'] });
  allowOnly(root, ['Rule']);
  const [rule, second] = childrenNamed(root, 'Rule');
  if (rule === undefined || second !== undefined) throw malformedXml(`${ROOT} needs one Rule`);
  allowOnly(rule, [
    'ApplyServerSideEncryptionByDefault',
    'BucketKeyEnabled',
    'BlockedEncryptionTypes',
  ]);
  const encryption: BucketEncryption = {};
  const [byDefault] = childrenNamed(rule, 'ApplyServerSideEncryptionByDefault');
  if (byDefault !== undefined) Object.assign(encryption, readDefault(byDefault));
  const bucketKey = childText(rule, 'BucketKeyEnabled')?.trim();
  if (bucketKey === 'true') encryption.bucketKey = true;
  else if (bucketKey !== undefined && bucketKey !== 'false') {
    throw malformedXml('BucketKeyEnabled must be true or false');
  }
  const [blocked] = childrenNamed(rule, 'BlockedEncryptionTypes');
  if (blocked !== undefined && blocksCustomerKeys(blocked)) encryption.blocksCustomerKeys = true;
  if (byDefault === undefined && blocked === undefined) throw malformedXml('Rule says nothing');
  return encryption;
}

function readDefault(node: XmlNode): Pick<BucketEncryption, 'algorithm' | 'keyId'> {
  allowOnly(node, ['SSEAlgorithm', 'KMSMasterKeyID']);
  const algorithm = requiredText(node, 'SSEAlgorithm').trim();
  const keyId = childText(node, 'KMSMasterKeyID')?.trim() || undefined;
  if (algorithm === 'aws:kms') return { algorithm, ...(keyId && { keyId }) };
  if (algorithm === 'aws:kms:dsse') {
    throw new S3Error('NotImplemented', {
      message: 'Dual-layer server-side encryption (aws:kms:dsse) is not implemented.',
      details: { Element: 'SSEAlgorithm' },
    });
  }
  if (algorithm !== 'AES256') throw malformedXml('SSEAlgorithm must be AES256 or aws:kms');
  if (keyId === undefined) return { algorithm };
  throw new S3Error('InvalidArgument', {
    message:
      'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse',
    details: { ArgumentName: 'ApplyServerSideEncryptionByDefault', ArgumentValue: 'null' },
  });
}

function blocksCustomerKeys(node: XmlNode): boolean {
  allowOnly(node, ['EncryptionType']);
  const types = childrenNamed(node, 'EncryptionType').map((type) => type.text.trim());
  if (types.length === 0) throw malformedXml('BlockedEncryptionTypes needs EncryptionType');
  for (const type of types) {
    if (type !== 'NONE' && type !== 'SSE-C') {
      throw malformedXml('EncryptionType must be NONE or SSE-C');
    }
  }
  if (types.includes('NONE') && types.length > 1) throw malformedXml('NONE goes with nothing else');
  return types.includes('SSE-C');
}
