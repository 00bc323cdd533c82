/**
 * The condition keys that a bucket policy may name. Names do not depend on case; the tag's key at the
 * end of some does, since keys of object tags do.
 *
 * Source: Service Authorization Reference, "Condition keys for Amazon S3"; IAM User Guide, "AWS
 * global condition context keys". Keys of things that do not exist here (networks of AWS,
 * organizations, access points, sessions) are known and never have a value, as for a request on AWS
 * that has nothing to do with them.
 */
import { ACTIONS } from './actions.ts';

/** Of every action on S3, without `s3:`. */
const EVERY_ACTION: ReadonlySet<string> = new Set([
  'accessgrantsinstancearn',
  'accesspointnetworkorigin',
  'authtype',
  'dataaccesspointaccount',
  'dataaccesspointarn',
  'resourceaccount',
  'signatureage',
  'signatureversion',
  'tlsversion',
  'x-amz-content-sha256',
]);

/** Without `aws:`; those that end with `/` take a tag's key. */
const GLOBAL: ReadonlySet<string> = new Set([
  'calledvia',
  'calledviafirst',
  'calledvialast',
  'currenttime',
  'ec2instancesourceprivateipv4',
  'ec2instancesourcevpc',
  'epochtime',
  'federatedprovider',
  'ismcpserviceaction',
  'multifactorauthage',
  'multifactorauthpresent',
  'principalaccount',
  'principalarn',
  'principalisawsservice',
  'principalorgid',
  'principalorgpaths',
  'principalservicename',
  'principalservicenameslist',
  'principaltag/',
  'principaltype',
  'referer',
  'requestedregion',
  'requesttag/',
  'resourceaccount',
  'resourceorgid',
  'resourceorgpaths',
  'resourcetag/',
  'securetransport',
  'sourceaccount',
  'sourcearn',
  'sourceidentity',
  'sourceip',
  'sourceorgid',
  'sourceorgpaths',
  'sourceowner',
  'sourcevpc',
  'sourcevpcarn',
  'sourcevpce',
  'tagkeys',
  'tokenissuetime',
  'useragent',
  'userid',
  'username',
  'viaawsmcpservice',
  'viaawsservice',
  'vpceaccount',
  'vpceorgid',
  'vpceorgpaths',
  'vpcsourceip',
]);

/** Of single actions, without `s3:`. */
const OF_ACTIONS: ReadonlySet<string> = new Set(
  [...ACTIONS.values()].flatMap(({ keys }) => [...keys]),
);

/** The key of an object's own tags. */
export const EXISTING_TAG = 's3:existingobjecttag/';

/** The form in which a key is looked up; `undefined` when there is no such key. */
export function normalizeKey(written: string): string | undefined {
  const colon = written.indexOf(':');
  const slash = written.indexOf('/');
  const end = slash < 0 ? written.length : slash + 1;
  const prefix = written.slice(0, colon).toLowerCase();
  const name = written.slice(colon + 1, end).toLowerCase();
  const tag = written.slice(end);
  // A key that takes a tag needs one, and no other may have one.
  if (slash >= 0 !== (tag !== '')) return undefined;
  const known =
    prefix === 'aws'
      ? GLOBAL.has(name)
      : prefix === 's3' && (EVERY_ACTION.has(name) || OF_ACTIONS.has(name));
  return known ? `${prefix}:${name}${tag}` : undefined;
}

/** Whether an action (in lower case) takes the key (normalized). */
export function takesKey(action: string, key: string): boolean {
  if (key.startsWith('aws:')) return true;
  const slash = key.indexOf('/');
  const name = key.slice('s3:'.length, slash < 0 ? undefined : slash + 1);
  return EVERY_ACTION.has(name) || ACTIONS.get(action)?.keys.includes(name) === true;
}
