import type { FormReply } from '../form/form.ts';
import { locationOf } from '../location.ts';
import { defineOperation } from '../operation.ts';
import type { RawReply } from '../request.ts';
import { postResponse } from '../xml/post-response.ts';
import { PUT_OBJECT, type PutObjectInput, type PutObjectOutput } from './put-object.ts';

interface Input {
  put: PutObjectInput;
  form: FormReply;
  host: string | undefined;
}

interface Output extends Input {
  written: PutObjectOutput;
}

/** PostObject: PutObject by a browser's form. What the form says has become headers (`form/`). */
export const postObject = defineOperation<Input, Output>({
  name: 'PostObject',
  permission: PUT_OBJECT.permission,
  body: 'stream',
  query: PUT_OBJECT.query,
  parse(request) {
    return {
      put: PUT_OBJECT.parse(request),
      form: request.form ?? { redirect: undefined, status: 204 },
      host: request.headers['host'],
    };
  },
  execute: async (input, context) => ({
    ...input,
    written: await PUT_OBJECT.execute(input.put, context),
  }),
  serialize({ put, form, host, written }) {
    const { headers } = PUT_OBJECT.serialize(written);
    const { bucket, key } = put;
    const etag = String(headers['ETag']);
    if (form.redirect !== undefined) {
      return {
        status: 303,
        headers: { ...headers, Location: redirected(form.redirect, put, etag) },
      };
    }
    const location = locationOf(host, bucket, key);
    const reply: RawReply = { status: form.status, headers: { ...headers, Location: location } };
    if (form.status !== 201) return reply;
    reply.headers['Content-Type'] = 'application/xml';
    return { ...reply, body: postResponse({ location, bucket, key, etag }) };
  },
});

/** The client's URL with bucket, key and ETag in its query, before any fragment. */
function redirected(url: string, { bucket, key }: PutObjectInput, etag: string): string {
  const hash = url.indexOf('#');
  const base = hash < 0 ? url : url.slice(0, hash);
  const parameters = `bucket=${bucket}&key=${encodeURIComponent(key)}&etag=${encodeURIComponent(etag)}`;
  const joint = base.includes('?') ? '&' : '?';
  return `${base}${joint}${parameters}${hash < 0 ? '' : url.slice(hash)}`;
}
