/**
 * The signature of a form upload: over the text of its policy, by Version 4
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html) or, where it is
 * switched on, by Version 2. Which fields there are decides; both at once are refused.
 */
import { ERRORS, S3Error } from '../errors.ts';
import type { AuthenticateOptions } from './authenticate.ts';
import type { Credential } from './identity.ts';
import { signV2 } from './signature-v2.ts';
import { signingKeyFor } from './signature-v4.ts';
import { ALGORITHM, NOBODY, parseCredential, sameSignature, sign } from './signing.ts';
import { parseBasicTime } from './times.ts';

/** Whoever sends one of these wants to be somebody. */
const VERSION_4 = ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature'];
const VERSION_2 = ['awsaccesskeyid', 'signature'];

/**
 * Who signed the form; undefined when nobody did and it has no policy. `fields` are named in lower
 * case. Throws InvalidArgument for what is missing or malformed, InvalidRequest for Version 2 when it
 * is off, InvalidAccessKeyId and SignatureDoesNotMatch.
 */
export function authenticateForm(
  fields: ReadonlyMap<string, string>,
  options: AuthenticateOptions,
): Credential | undefined {
  if (fields.has('x-amz-security-token')) throw new S3Error('InvalidToken');
  const isV4 = VERSION_4.some((name) => fields.has(name));
  const isV2 = VERSION_2.some((name) => fields.has(name));
  if (isV4 && isV2) {
    throw new S3Error('InvalidArgument', {
      message: 'Only one auth mechanism allowed: the form has the fields of two.',
    });
  }
  if (isV2) return verifyV2(fields, options);
  if (isV4 || fields.has('policy')) return verifyV4(fields, options);
  return undefined;
}

function verifyV4(
  fields: ReadonlyMap<string, string>,
  { credentials, region }: AuthenticateOptions,
): Credential {
  const policy = required(fields, 'policy');
  const algorithm = required(fields, 'x-amz-algorithm');
  const credentialText = required(fields, 'x-amz-credential');
  const timestamp = required(fields, 'x-amz-date');
  const signature = required(fields, 'x-amz-signature');
  if (algorithm !== ALGORITHM) {
    throw invalidField('x-amz-algorithm', algorithm, `it must be ${ALGORITHM}`);
  }
  const parsed = parseCredential(credentialText, region);
  if ('reason' in parsed) throw invalidField('x-amz-credential', credentialText, parsed.reason);
  if (parseBasicTime(timestamp) === undefined || !timestamp.startsWith(parsed.scope.date)) {
    throw invalidField('x-amz-date', timestamp, 'it must be of the day of the credential');
  }
  const credential = credentials.find(parsed.accessKey);
  const expected = sign(signingKeyFor(credential, parsed.scope), policy);
  return judged(credential, parsed.accessKey, {
    policy,
    signature,
    matches: sameSignature(signature, expected),
  });
}

function verifyV2(
  fields: ReadonlyMap<string, string>,
  { credentials, signatureV2 }: AuthenticateOptions,
): Credential {
  if (signatureV2 === undefined) {
    throw new S3Error('InvalidRequest', {
      message:
        'Forms signed with Signature Version 2 are not supported. Please use AWS4-HMAC-SHA256. (Signature Version 2 can be switched on by the setting s3.signatureV2.)',
    });
  }
  const policy = required(fields, 'policy');
  const accessKey = required(fields, 'awsaccesskeyid');
  const signature = required(fields, 'signature');
  const credential = credentials.find(accessKey);
  const expected = signV2((credential ?? NOBODY).secretKey, policy);
  return judged(credential, accessKey, {
    policy,
    signature,
    matches: sameSignature(signature, expected),
  });
}

/** After the work: the same for an unknown key as for a wrong secret. */
function judged(
  credential: Credential | undefined,
  accessKey: string,
  { policy, signature, matches }: { policy: string; signature: string; matches: boolean },
): Credential {
  if (credential === undefined) {
    throw new S3Error('InvalidAccessKeyId', { details: { AWSAccessKeyId: accessKey } });
  }
  if (matches) return credential;
  throw new S3Error('SignatureDoesNotMatch', {
    message: ERRORS.SignatureDoesNotMatch.message,
    details: {
      AWSAccessKeyId: accessKey,
      StringToSign: policy,
      SignatureProvided: signature,
    },
  });
}

/** How AWS spells what it misses. */
const SPELLING: Readonly<Record<string, string>> = {
  awsaccesskeyid: 'AWSAccessKeyId',
  'x-amz-algorithm': 'X-Amz-Algorithm',
  'x-amz-credential': 'X-Amz-Credential',
  'x-amz-date': 'X-Amz-Date',
  'x-amz-signature': 'X-Amz-Signature',
};

function required(fields: ReadonlyMap<string, string>, name: string): string {
  const value = fields.get(name);
  if (value) return value;
  throw missingField(SPELLING[name] ?? name);
}

/** InvalidArgument for a field that a form must have before its file. */
export function missingField(name: string): S3Error {
  return new S3Error('InvalidArgument', {
    message: `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`,
    details: { ArgumentName: name, ArgumentValue: '' },
  });
}

function invalidField(name: string, value: string, reason: string): S3Error {
  return new S3Error('InvalidArgument', {
    message: `The field ${name} is not valid: ${reason}.`,
    details: { ArgumentName: name, ArgumentValue: value },
  });
}
