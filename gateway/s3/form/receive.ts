/**
 * A form upload up to where it becomes a PutObject: read, authenticated, held against its policy.
 * Nothing that is stored has been looked at when this is done.
 */
import type { Authenticated, Credential } from '../auth/identity.ts';
import { missingField } from '../auth/form-signature.ts';
import { S3Error } from '../errors.ts';
import { validateKey } from '../names.ts';
import { invalidArgument } from '../parameters.ts';
import type { ByteSource, HeaderMap, RawRequest } from '../request.ts';
import type { Form, FormReply, ReadForm } from './form.ts';
import { formHeaders, refuseOutsideTheForm } from './form-headers.ts';
import { checkPostPolicy, parsePostPolicy, type SizeRange } from './post-policy.ts';

export interface FormUpload {
  /** Who signed the form, and the file as the payload. */
  identity: Authenticated;
  key: string;
  /** What PutObject would have been sent. */
  headers: HeaderMap;
  reply: FormReply;
}

export interface ReceiveOptions {
  readForm: ReadForm;
  /** See `auth/form-signature.ts`; fields are named in lower case. */
  authenticateForm(
    fields: ReadonlyMap<string, string>,
  ): Credential | undefined | Promise<Credential | undefined>;
  /** Wall clock, milliseconds since the epoch. */
  now: number;
}

/** Throws S3Error with the codes of `docs/reference/errors.md`; the payload throws at its end. */
export async function receiveForm(
  request: RawRequest,
  { bucket, headers }: { bucket: string; headers: HeaderMap },
  options: ReceiveOptions,
): Promise<FormUpload> {
  refuseOutsideTheForm(headers);
  const form = await options.readForm(request.body, headers['content-type'] ?? '');
  const fields = fieldsByName(form);
  const key = keyOf(form, fields);
  if (form.file === undefined) throw new S3Error('IncorrectNumberOfFilesInPostRequest');
  const credential = await options.authenticateForm(fields);
  const range = judge(new Map([...fields, ['key', key]]), bucket, options.now);
  if (fields.has('bucket') && fields.get('bucket') !== bucket) {
    throw new S3Error('AccessDenied', { message: 'The form is for another bucket.' });
  }
  const { body } = form.file;
  return {
    identity: {
      account: credential?.account,
      accessKey: credential?.accessKey,
      body: range === undefined ? body : sized(body, range),
      decodedLength: undefined,
      trailer: undefined,
    },
    key,
    headers: formHeaders(fields, headers),
    reply: { redirect: redirectOf(fields), status: statusOf(fields.get('success_action_status')) },
  };
}

function fieldsByName({ fields }: Form): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, value } of fields) {
    const lower = name.toLowerCase();
    if (found.has(lower)) {
      throw invalidArgument(name, value, `The form has the field ${name} more than once.`);
    }
    found.set(lower, value);
  }
  return found;
}

const FILENAME = '${filename}';

function keyOf({ file }: Form, fields: ReadonlyMap<string, string>): string {
  const template = fields.get('key');
  if (template === undefined) throw missingField('key');
  const key = template.replaceAll(FILENAME, () => file?.name ?? '');
  if (key === '') {
    throw invalidArgument('key', '', 'User key must have a length greater than 0.');
  }
  validateKey(key);
  return key;
}

/** A form with a policy is signed: `authenticateForm` has seen to that. */
function judge(fields: Map<string, string>, bucket: string, now: number): SizeRange | undefined {
  const policy = fields.get('policy');
  if (policy === undefined) return undefined;
  const parsed = parsePostPolicy(policy);
  return checkPostPolicy(parsed, fields.set('bucket', bucket), now);
}

function statusOf(status: string | undefined): FormReply['status'] {
  return status === '200' ? 200 : status === '201' ? 201 : 204;
}

/** An absolute URL without blanks and control characters; anything else counts as not given. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const HTTP_URL = /^https?:\/\/[^\u0000-\u0020\u007f]+$/i;
const BEYOND_ASCII = /[^\x21-\x7e]+/gu;

function redirectOf(fields: ReadonlyMap<string, string>): string | undefined {
  const url = fields.get('success_action_redirect') ?? fields.get('redirect');
  if (url === undefined || !HTTP_URL.test(url)) return undefined;
  return url.replace(BEYOND_ASCII, (characters) => encodeURIComponent(characters));
}

/** Checked before the body ends, so before anything is committed. */
async function* sized(
  body: ByteSource,
  { min, max }: SizeRange,
): ByteSource & AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > max) {
      throw new S3Error('EntityTooLarge', {
        details: { ProposedSize: String(size), MaxSizeAllowed: String(max) },
      });
    }
    yield chunk;
  }
  if (size < min) {
    throw new S3Error('EntityTooSmall', {
      details: { ProposedSize: String(size), MinSizeAllowed: String(min) },
    });
  }
}
