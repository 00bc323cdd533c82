/** An ACL with its owner: body of PutBucketAcl and PutObjectAcl, answer of their readers. */
import type { Grant, Permission } from '../../../meta/protocol.ts';
import { groupUri } from '../access/acl.ts';
import type { NamedGrant, NamedGrantee } from '../access/acl-request.ts';
import { S3Error } from '../errors.ts';
import { type Owner, ownerElement } from './elements.ts';
import {
  allowOnly,
  childrenNamed,
  childText,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

const XSI = 'http://www.w3.org/2001/XMLSchema-instance';

export interface AccessControlPolicy {
  owner: Owner;
  grants: readonly Grant[];
  /** Display names of accounts, by canonical id. */
  names: ReadonlyMap<string, string>;
}

export function accessControlPolicy({ owner, grants, names }: AccessControlPolicy): string {
  // Groups first, as the public conformance suite expects them; the order means nothing.
  const isGroup = ({ grantee }: Grant): number => ('group' in grantee ? 0 : 1);
  const sorted = grants.toSorted((left, right) => isGroup(left) - isGroup(right));
  const list = sorted.map(({ grantee, permission }) =>
    element('Grant', granteeElement(grantee, names), text('Permission', permission)),
  );
  return document(
    'AccessControlPolicy',
    ownerElement('Owner', owner),
    element('AccessControlList', ...list),
  );
}

/** `<Grantee>`, with a display name where `names` has one. */
export function granteeElement(
  grantee: Grant['grantee'],
  names: ReadonlyMap<string, string>,
): string {
  if ('group' in grantee) {
    return `<Grantee xmlns:xsi="${XSI}" xsi:type="Group">${text('URI', groupUri(grantee.group))}</Grantee>`;
  }
  const { id } = grantee;
  return `<Grantee xmlns:xsi="${XSI}" xsi:type="CanonicalUser">${text('ID', id)}${text('DisplayName', names.get(id))}</Grantee>`;
}

const PERMISSIONS: readonly Permission[] = [
  'FULL_CONTROL',
  'READ',
  'WRITE',
  'READ_ACP',
  'WRITE_ACP',
];

/** `owner`: undefined when the document names none. Throws MalformedACLError. */
export function readAccessControlPolicy(xml: string): {
  owner: string | undefined;
  grants: NamedGrant[];
} {
  try {
    return read(xml);
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'MalformedXML') throw error;
    throw new S3Error('MalformedACLError', { message: error.message, cause: error });
  }
}

function read(xml: string): { owner: string | undefined; grants: NamedGrant[] } {
  const root = readXml(xml, { root: 'AccessControlPolicy', arrays: ['Grant'] });
  allowOnly(root, ['Owner', 'AccessControlList']);
  const [owner] = childrenNamed(root, 'Owner');
  if (owner !== undefined) allowOnly(owner, ['ID', 'DisplayName']);
  const [list] = childrenNamed(root, 'AccessControlList');
  if (list === undefined) throw malformedAcl('AccessControlPolicy needs AccessControlList');
  allowOnly(list, ['Grant']);
  if (list.text.trim() !== '') throw malformedAcl('AccessControlList must hold Grant elements');
  return {
    owner: owner && childText(owner, 'ID'),
    grants: childrenNamed(list, 'Grant').map(readGrant),
  };
}

function readGrant(grant: XmlNode): NamedGrant {
  allowOnly(grant, ['Grantee', 'Permission']);
  const [grantee] = childrenNamed(grant, 'Grantee');
  if (grantee === undefined) throw malformedAcl('Grant needs Grantee');
  const written = requiredText(grant, 'Permission').trim();
  const permission = PERMISSIONS.find((known) => known === written);
  if (permission === undefined) throw malformedAcl('Permission is none that there is');
  return { grantee: readGrantee(grantee), permission };
}

/** Which kind it is tells the element that names it; attributes are not looked at. */
function readGrantee(grantee: XmlNode): NamedGrantee {
  allowOnly(grantee, ['ID', 'DisplayName', 'EmailAddress', 'URI']);
  const id = childText(grantee, 'ID')?.trim();
  const email = childText(grantee, 'EmailAddress')?.trim();
  const uri = childText(grantee, 'URI')?.trim();
  const given = [id, email, uri].filter((one) => one !== undefined);
  if (given.length !== 1) throw malformedAcl('a Grantee has one of ID, EmailAddress and URI');
  if (id !== undefined) return { by: 'id', value: id };
  if (email !== undefined) return { by: 'email', value: email };
  return { by: 'uri', value: uri ?? '' };
}

function malformedAcl(reason: string): S3Error {
  return new S3Error('MalformedACLError', { message: `The ACL is not well-formed: ${reason}.` });
}
