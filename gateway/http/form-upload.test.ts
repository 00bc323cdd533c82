import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from '../s3/errors.ts';
import type { Form } from '../s3/form/form.ts';
import { readForm } from './form-upload.ts';

const TYPE = 'multipart/form-data; boundary=b';

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    // Copies: whoever gets a chunk may do with it what he likes.
    yield Buffer.from(bytes.subarray(start, start + size));
  }
}

const part = (head: string, value: string | Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`--b\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ]);
const END = Buffer.from('--b--\r\n');

function read(body: Buffer | string, chunk = 7, type = TYPE): Promise<Form> {
  return readForm(inChunks(Buffer.from(body), chunk), type);
}

async function contentOf(form: Form): Promise<Buffer> {
  assert.ok(form.file, 'the form has no file');
  const chunks: Uint8Array[] = [];
  for await (const chunk of form.file.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The code with which a form fails, read to the end of its file; `none` when it does not. */
async function codeOf(body: Buffer | string, chunk?: number, type?: string): Promise<string> {
  try {
    const form = await read(body, chunk, type);
    if (form.file !== undefined) await contentOf(form);
    return form.file === undefined ? 'no file' : 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

const FORM = Buffer.concat([
  part('name="key"', 'a/${filename}'),
  part('name="x-amz-meta-colour"', 'grün'),
  part('name="empty"', ''),
  part('name="file"; filename="cat.jpg"\r\nContent-Type: image/jpeg', 'line\r\n--x\r\n--\r\n'),
  part('name="submit"', 'Upload'),
  END,
]);

test('fields and file come out, however the bytes are cut', async () => {
  for (let size = 1; size <= FORM.length; size++) {
    const form = await read(FORM, size);
    assert.deepEqual(form.fields, [
      { name: 'key', value: 'a/${filename}' },
      { name: 'x-amz-meta-colour', value: 'grün' },
      { name: 'empty', value: '' },
    ]);
    assert.equal(form.file?.name, 'cat.jpg');
    assert.equal((await contentOf(form)).toString(), 'line\r\n--x\r\n--\r\n', `cut by ${size}`);
  }
});

test('any content is what was sent, byte for byte', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 1, max: 100 }),
      async (bytes, size) => {
        fc.pre(!Buffer.from(bytes).includes('\r\n--b'));
        const body = Buffer.concat([part('name="file"', Buffer.from(bytes)), END]);
        assert.deepEqual(await contentOf(await read(body, size)), Buffer.from(bytes));
      },
    ),
  );
});

test('random bytes are an S3 error and nothing else', async () => {
  const pieces = [
    '--b',
    '\r\n',
    '--',
    'Content-Disposition: form-data; ',
    'name="file"',
    '\r\n\r\n',
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string())),
      fc.integer({ min: 1, max: 50 }),
      async (parts, size) => {
        await codeOf(parts.join(''), size);
      },
    ),
    { numRuns: 500 },
  );
});

test('fields may carry a file name, and the file none', async () => {
  const body = Buffer.concat([
    part('name="key"; filename="key"', 'a'),
    part('name="File"\r\nContent-Type: text/plain; charset=latin1', Buffer.from([0xff, 0])),
    END,
  ]);
  const form = await read(body);
  assert.deepEqual(form.fields, [{ name: 'key', value: 'a' }]);
  assert.equal(form.file?.name, '');
  assert.deepEqual(await contentOf(form), Buffer.from([0xff, 0]));
});

test('of a path only the file name is taken', async () => {
  for (const [given, name] of [
    ['"C:\\\\docs\\\\a.txt"', 'a.txt'],
    ['"C:\\docs\\a.txt"', 'a.txt'],
    ['"/home/me/a b.txt"', 'a b.txt'],
    ['"quote\\"d.txt"', 'quote"d.txt'],
    ['plain.txt', 'plain.txt'],
    ['"grün.txt"', 'grün.txt'],
    ['""', ''],
  ]) {
    const form = await read(Buffer.concat([part(`name="file"; filename=${given}`, 'x'), END]));
    assert.equal(form.file?.name, name, given);
    await contentOf(form);
  }
});

test('the boundary may be quoted and stand among other parameters', async () => {
  for (const type of [
    'multipart/form-data; boundary="b"',
    'Multipart/Form-Data;charset=utf-8; BOUNDARY=b',
    'multipart/form-data; boundary=b; charset=utf-8',
  ]) {
    assert.equal(await codeOf(FORM, 9, type), 'none', type);
  }
  for (const type of [
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=""',
    `multipart/form-data; boundary=${'b'.repeat(71)}`,
    'multipart/mixed; boundary=b',
  ]) {
    assert.equal(await codeOf(FORM, 9, type), 'MalformedPOSTRequest', type);
  }
});

test('a form that is cut off anywhere is MalformedPOSTRequest, its file not complete', async () => {
  const end = FORM.length - '\r\n'.length;
  for (let length = 0; length < end; length++) {
    assert.equal(
      await codeOf(FORM.subarray(0, length), 11),
      'MalformedPOSTRequest',
      `cut after ${length}`,
    );
  }
  assert.equal(await codeOf(FORM.subarray(0, end), 11), 'none');
});

test('a part without a usable Content-Disposition is MalformedPOSTRequest', async () => {
  const whole = (head: string): string => `--b\r\n${head}\r\n\r\nx\r\n--b--\r\n`;
  for (const head of [
    'Content-Type: text/plain',
    ' Content-Disposition: form-data; name="key"',
    'Content-Disposition form-data; name="key"',
    'Content-Disposition: attachment; name="key"',
    'Content-Disposition: form-data',
    'Content-Disposition: form-data; name=""',
    'Content-Disposition: form-data; name="a"b"',
    'Content-Disposition: form-data; name="key"; name="other"',
    'Content-Disposition: form-data; name="key"; filename="a"b.txt"',
    'Content-Disposition: form-data; name="key\r\nContent-Disposition: form-data; name="b"',
    'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"',
  ]) {
    assert.equal(await codeOf(whole(head)), 'MalformedPOSTRequest', head);
  }
  assert.equal(await codeOf('--b\r\n--b--\r\n'), 'MalformedPOSTRequest');
});

test('a field that is not UTF-8 is MalformedPOSTRequest', async () => {
  const body = Buffer.concat([part('name="key"', Buffer.from([0xc3, 0x28])), END]);
  assert.equal(await codeOf(body), 'MalformedPOSTRequest');
});

test('a form without a file is read to its end; two files are refused at the end of the first', async () => {
  assert.equal(await codeOf(Buffer.concat([part('name="key"', 'a'), END])), 'no file');
  assert.equal(await codeOf('--b--\r\n'), 'no file');
  const two = Buffer.concat([part('name="file"', 'a'), part('name="FILE"', 'b'), END]);
  assert.equal(await codeOf(two), 'IncorrectNumberOfFilesInPostRequest');
});

test('too many fields, too large ones, too long headers and endless preambles are refused', async () => {
  const file = Buffer.concat([part('name="file"', 'x'), END]);
  const many = (count: number): Buffer =>
    Buffer.concat([...Array.from({ length: count }, (_, n) => part(`name="f${n}"`, '')), file]);
  assert.equal(await codeOf(many(100), 65_536), 'none');
  assert.equal(await codeOf(many(101), 65_536), 'MaxPostPreDataLengthExceededError');
  assert.equal(await codeOf(many(5000), 65_536), 'MaxPostPreDataLengthExceededError');
  const large = (bytes: number): Buffer =>
    Buffer.concat([part('name="policy"', 'x'.repeat(bytes)), file]);
  assert.equal(await codeOf(large(20_000), 65_536), 'none');
  for (const chunk of [1000, 65_536]) {
    assert.equal(
      await codeOf(large(1_200_000), chunk),
      'MaxPostPreDataLengthExceededError',
      `by ${chunk}`,
    );
    const preamble = Buffer.concat([Buffer.alloc(2_000_000, 'x'), Buffer.from('\r\n'), file]);
    assert.equal(await codeOf(preamble, chunk), 'MaxPostPreDataLengthExceededError');
    const header = Buffer.from(`--b\r\nX-Long: ${'x'.repeat(2_000_000)}\r\n\r\nx\r\n--b--\r\n`);
    assert.equal(await codeOf(header, chunk), 'MaxPostPreDataLengthExceededError');
  }
});

test('a source that breaks is passed on as it broke', async () => {
  const broken = new Error('the client went away');
  async function* source(): AsyncGenerator<Buffer> {
    yield FORM.subarray(0, FORM.length - 60);
    throw broken;
  }
  const form = await readForm(source(), TYPE);
  await assert.rejects(contentOf(form), broken);
});

test('a large file is taken in as fast as it is used, and no faster', async () => {
  const chunk = Buffer.alloc(64 * 1024, 'y');
  let given = 0;
  async function* source(): AsyncGenerator<Buffer> {
    yield Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n');
    for (; given < 200; given++) yield Buffer.from(chunk);
    yield Buffer.from('\r\n--b--\r\n');
  }
  const form = await readForm(source(), TYPE);
  assert.ok(form.file);
  let used = 0;
  for await (const bytes of form.file.body) {
    used += bytes.length;
    await new Promise((resolve) => setImmediate(resolve));
    const ahead = given * chunk.length - used;
    assert.ok(ahead <= 4 * chunk.length, `${ahead} bytes ahead`);
  }
  assert.equal(used, 200 * chunk.length);
});
