/** The body of CompleteMultipartUpload. */
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import { PART_NUMBER_MAX } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { unquoteEtag } from '../etag.ts';
import { CHECKSUM_ELEMENTS } from './elements.ts';
import {
  allowOnly,
  childNumber,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';

export interface CompletedPart {
  number: number;
  /** Without quotes. */
  etag: string;
  /** Value as sent. */
  checksum?: { algorithm: ChecksumAlgorithm; value: string } | undefined;
}

const PART_CHILDREN = ['PartNumber', 'ETag', ...CHECKSUM_ELEMENTS.map(({ name }) => name)];

/**
 * The parts in the order of the document. Throws MalformedXML for an empty list, more than 10,000
 * parts or a part without number or ETag; InvalidRequest for a part with checksums of several
 * algorithms.
 */
export function readCompleteMultipartUpload(xml: string): CompletedPart[] {
  const root = readXml(xml, { root: 'CompleteMultipartUpload', arrays: ['Part'] });
  allowOnly(root, ['Part']);
  const parts = childrenNamed(root, 'Part').map(readPart);
  if (parts.length === 0) throw malformedXml('at least one Part is needed');
  if (parts.length > PART_NUMBER_MAX) throw malformedXml(`at most ${PART_NUMBER_MAX} parts`);
  return parts;
}

function readPart(node: XmlNode): CompletedPart {
  allowOnly(node, PART_CHILDREN);
  const number = childNumber(node, 'PartNumber');
  if (number === undefined) throw malformedXml('Part needs PartNumber');
  if (number < 1 || number > PART_NUMBER_MAX) {
    throw new S3Error('InvalidArgument', {
      message: `PartNumber must be an integer between 1 and ${PART_NUMBER_MAX}`,
      details: { ArgumentName: 'PartNumber', ArgumentValue: String(number) },
    });
  }
  const etag = unquoteEtag(requiredText(node, 'ETag'));
  if (etag === '') throw malformedXml('ETag is empty');
  const checksums = CHECKSUM_ELEMENTS.flatMap(({ name, algorithm }) => {
    const value = childText(node, name)?.trim();
    return value === undefined || value === '' ? [] : [{ algorithm, value }];
  });
  if (checksums.length > 1) {
    throw new S3Error('InvalidRequest', {
      message: `Part ${number} has checksums of more than one algorithm.`,
    });
  }
  const [checksum] = checksums;
  return checksum === undefined ? { number, etag } : { number, etag, checksum };
}
