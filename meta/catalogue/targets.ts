/** What can be referred to and counts its references: blobs and part lists, under one name each. */
import { type BlobId, parseBlobId } from '../../base/ids.ts';
import type { DataRef } from '../protocol.ts';
import { blobKey, partListKey } from './keyspace.ts';

/** A blob's id, or `list:` and a part list's. */
export type Target = string;

export const targetOfBlob = (blob: BlobId): Target => blob;
export const targetOfList = (list: string): Target => `list:${list}`;

export function targetOf(data: DataRef): Target | undefined {
  if (data.kind === 'blob') return targetOfBlob(data.blob);
  return data.kind === 'parts' ? targetOfList(data.list) : undefined;
}

/** The list that the target is, or undefined: it is a blob. */
export function listOfTarget(target: Target): string | undefined {
  return target.startsWith('list:') ? target.slice(5) : undefined;
}

/** The row that has the target's count. */
export function keyOfTarget(target: Target): Buffer {
  const list = listOfTarget(target);
  return list === undefined ? blobKey(parseBlobId(target)) : partListKey(list, 0);
}

export function nameOfTarget(target: Target): string {
  const list = listOfTarget(target);
  return list === undefined ? `blob ${target}` : `part list ${list}`;
}
