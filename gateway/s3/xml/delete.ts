/** The body of DeleteObjects. */
import { DELETE_KEYS_MAX } from '../../../meta/protocol.ts';
import { unquoteEtag } from '../etag.ts';
import { parseHttpDate } from '../http-date.ts';
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

export interface ObjectToDelete {
  /** Exactly as sent. */
  key: string;
  versionId?: string | undefined;
  /** Without quotes. */
  etag?: string | undefined;
  modifiedMs?: number | undefined;
  size?: number | undefined;
}

export interface DeleteRequest {
  /** Only errors are reported. */
  quiet: boolean;
  objects: ObjectToDelete[];
}

/** Throws MalformedXML, also for no key at all, an empty key or more than 1,000 keys. */
export function readDelete(xml: string): DeleteRequest {
  const root = readXml(xml, { root: 'Delete', arrays: ['Object'] });
  allowOnly(root, ['Object', 'Quiet']);
  const objects = childrenNamed(root, 'Object');
  if (objects.length === 0) throw malformedXml('at least one Object is needed');
  if (objects.length > DELETE_KEYS_MAX) throw malformedXml(`at most ${DELETE_KEYS_MAX} objects`);
  return { quiet: readQuiet(root), objects: objects.map(readObject) };
}

function readQuiet(root: XmlNode): boolean {
  const value = childText(root, 'Quiet')?.trim().toLowerCase() ?? '';
  if (value !== '' && value !== 'true' && value !== 'false') {
    throw malformedXml('Quiet must be true or false');
  }
  return value === 'true';
}

function readObject(node: XmlNode): ObjectToDelete {
  allowOnly(node, ['Key', 'VersionId', 'ETag', 'LastModifiedTime', 'Size']);
  const key = requiredText(node, 'Key');
  if (key === '') throw malformedXml('Key is empty');
  const object: ObjectToDelete = { key };
  const versionId = childText(node, 'VersionId');
  if (versionId !== undefined && versionId !== '') object.versionId = versionId;
  const etag = childText(node, 'ETag');
  if (etag !== undefined) object.etag = unquoteEtag(etag);
  const size = childNumber(node, 'Size');
  if (size !== undefined) object.size = size;
  const modified = childText(node, 'LastModifiedTime');
  if (modified !== undefined) {
    object.modifiedMs = parseHttpDate(modified);
    if (object.modifiedMs === undefined) throw malformedXml('LastModifiedTime is no date');
  }
  return object;
}
