/** What PutBucketAcl and PutObjectAcl take: an ACL in the headers or in the body, never in both. */
import { type AclRequest, parseAclHeaders } from './access/acl-request.ts';
import { S3Error } from './errors.ts';
import type { HeaderMap } from './request.ts';
import { readAccessControlPolicy } from './xml/access-control-policy.ts';

export interface PutAclRequest {
  request: AclRequest;
  /** Canonical id of the owner that the document names. */
  owner: string | undefined;
}

/** Throws InvalidArgument, InvalidRequest, MalformedACLError, UnexpectedContent, MissingSecurityHeader. */
export function parsePutAcl(headers: HeaderMap, xml: string): PutAclRequest {
  const inHeaders = parseAclHeaders(headers);
  if (inHeaders !== undefined) {
    if (xml.trim() !== '') throw new S3Error('UnexpectedContent');
    return { request: inHeaders, owner: undefined };
  }
  if (xml.trim() === '') {
    throw new S3Error('MissingSecurityHeader', { details: { MissingHeaderName: 'x-amz-acl' } });
  }
  const { owner, grants } = readAccessControlPolicy(xml);
  return { request: { kind: 'grants', grants }, owner };
}

/** An ACL does not give things to a new owner. */
export function refuseOtherOwner(named: string | undefined, owner: string): void {
  if (named !== undefined && named !== '' && named !== owner) throw new S3Error('AccessDenied');
}
