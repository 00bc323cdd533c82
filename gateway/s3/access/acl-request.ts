/**
 * The ACL that a request asks for: canned, in x-amz-grant-* headers, or as a document; and the
 * accounts that its grantees are.
 */
import {
  type Grant,
  type GranteeGroup,
  GRANTS_MAX,
  type Permission,
} from '../../../meta/protocol.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import { S3Error } from '../errors.ts';
import { invalidArgument } from '../parameters.ts';
import type { HeaderMap } from '../request.ts';
import { CANNED_ACLS, type CannedAcl, cannedGrants, groupOfUri } from './acl.ts';

/** A grantee as it is named, before anybody has looked whether there is one. */
export type NamedGrantee =
  | { by: 'id'; value: string }
  | { by: 'email'; value: string }
  | { by: 'uri'; value: string };

export interface NamedGrant {
  grantee: NamedGrantee;
  permission: Permission;
}

export type AclRequest =
  | { kind: 'canned'; canned: CannedAcl }
  | { kind: 'grants'; grants: readonly NamedGrant[] };

const GRANT_HEADERS: readonly (readonly [header: string, permission: Permission])[] = [
  ['x-amz-grant-read', 'READ'],
  ['x-amz-grant-write', 'WRITE'],
  ['x-amz-grant-read-acp', 'READ_ACP'],
  ['x-amz-grant-write-acp', 'WRITE_ACP'],
  ['x-amz-grant-full-control', 'FULL_CONTROL'],
];

/**
 * What the headers ask for; undefined when they say nothing. Throws InvalidArgument, and
 * InvalidRequest for both forms at once.
 */
export function parseAclHeaders(headers: HeaderMap): AclRequest | undefined {
  const grants: NamedGrant[] = [];
  let listed = false;
  for (const [header, permission] of GRANT_HEADERS) {
    const value = headers[header];
    if (value === undefined) continue;
    listed = true;
    for (const grantee of parseGrantees(header, value)) grants.push({ grantee, permission });
  }
  const canned = headers['x-amz-acl'];
  if (canned === undefined) return listed ? { kind: 'grants', grants } : undefined;
  if (!isCanned(canned)) throw invalidArgument('x-amz-acl', canned);
  if (listed) {
    throw new S3Error('InvalidRequest', {
      message: 'Specifying both Canned ACLs and Header Grants is not allowed',
    });
  }
  return { kind: 'canned', canned };
}

function isCanned(text: string): text is CannedAcl {
  return (CANNED_ACLS as readonly string[]).includes(text);
}

/**
 * `id="…"`, `uri="…"`, `emailAddress="…"`, the quotes optional, up to the comma before the next one or
 * the end. Matched from one comma to the next, never searched for: headers are long.
 */
const GRANTEE = /\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*(,|$)/iy;

function parseGrantees(header: string, value: string): NamedGrantee[] {
  const grantees: NamedGrantee[] = [];
  GRANTEE.lastIndex = 0;
  for (;;) {
    const match = GRANTEE.exec(value);
    const name = match?.[2] ?? match?.[3];
    if (match === null || !name) {
      throw invalidArgument(header, value, 'Argument format not recognized');
    }
    grantees.push(granteeNamed(match[1] ?? '', name));
    if (match[4] === '') return grantees;
  }
}

function granteeNamed(by: string, value: string): NamedGrantee {
  const lower = by.toLowerCase();
  return { by: lower === 'id' || lower === 'uri' ? lower : 'email', value };
}

/**
 * The grants that the request asks for. Throws InvalidArgument for accounts and groups that do not
 * exist, UnresolvableGrantByEmailAddress, and MalformedACLError for more than 100.
 */
export async function grantsOf(
  request: AclRequest,
  owners: { owner: string; bucketOwner: string },
  accounts: AccountDirectory,
): Promise<Grant[]> {
  if (request.kind === 'canned') return cannedGrants(request.canned, owners);
  const { grants } = request;
  if (grants.length > GRANTS_MAX) {
    throw new S3Error('MalformedACLError', {
      message: `The request contained too many grants: an ACL has at most ${GRANTS_MAX}.`,
    });
  }
  return Promise.all(
    grants.map(async ({ grantee, permission }) => ({
      grantee: await granteeOf(grantee, accounts),
      permission,
    })),
  );
}

async function granteeOf(
  { by, value }: NamedGrantee,
  accounts: AccountDirectory,
): Promise<Grant['grantee']> {
  switch (by) {
    case 'uri': {
      const group: GranteeGroup | undefined = groupOfUri(value);
      if (group === undefined) throw invalidArgument('Group/URI', value, 'Invalid group uri');
      return { group };
    }
    case 'email': {
      const account = await accounts.account('email', value.toLowerCase());
      if (account === undefined) {
        throw new S3Error('UnresolvableGrantByEmailAddress', { details: { ArgumentValue: value } });
      }
      return { id: account.id };
    }
    case 'id': {
      const account = await accounts.account('id', value);
      if (account === undefined) {
        throw invalidArgument('CanonicalUser/ID', value, 'Invalid id');
      }
      return { id: account.id };
    }
    default:
      return by satisfies never;
  }
}
