/**
 * Takes `multipart/form-data` (RFC 7578) apart with the parser of @fastify/busboy. Used is its inner
 * part, Dicer: the outer one drops what it does not understand, and guesses at character sets, while
 * here every part must be sound and each byte of a value counts, since it may be signed.
 *
 * Memory is bounded whatever a client sends: the form is fed chunk by chunk, and the next chunk only
 * when the last one has been used.
 */
import { Dicer } from '@fastify/busboy';
import type { Readable } from 'node:stream';
import { S3Error } from '../s3/errors.ts';
import { type Form, FORM_LIMITS, type FormField } from '../s3/form/form.ts';
import type { ByteSource } from '../s3/request.ts';

/** Headers of one part; more is cut off by the parser. */
const HEADER_BYTES_MAX = 8 * 1024;
const HEADER_PAIRS_MAX = 32;
/** What may come before the first part, between parts and behind the file, and is thrown away. */
const IGNORED_BYTES_MAX = 1024 * 1024;

const CONTENT_TYPE = /^multipart\/form-data\s*;(.*)$/is;
/** RFC 2046 section 5.1.1: 1 to 70 characters. */
const BOUNDARY = /(?:^|;)\s*boundary\s*=\s*(?:"([^"\\\r\n]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i;

/** Reads the fields of a form up to its file; see `ReadForm`. */
export async function readForm(body: ByteSource, contentType: string): Promise<Form> {
  const reader = new FormReader(body, boundaryOf(contentType));
  const fields: FormField[] = [];
  let bytes = 0;
  for (;;) {
    const part = await reader.next();
    if (part === undefined) return { fields, file: undefined };
    const head = partHead(part);
    if (head.name.toLowerCase() === 'file') {
      return { fields, file: { name: head.filename, body: new FileBody(reader, part) } };
    }
    bytes += part.headerBytes;
    const chunks: Uint8Array[] = [];
    for (let chunk = await reader.read(part); chunk; chunk = await reader.read(part)) {
      bytes += chunk.length;
      if (bytes > FORM_LIMITS.fieldBytes) throw tooMuch();
      chunks.push(chunk);
    }
    if (bytes > FORM_LIMITS.fieldBytes || fields.length === FORM_LIMITS.fields) throw tooMuch();
    fields.push({ name: head.name, value: text(Buffer.concat(chunks)) });
  }
}

function boundaryOf(contentType: string): string {
  const match = BOUNDARY.exec(CONTENT_TYPE.exec(contentType)?.[1] ?? '');
  const boundary = match?.[1] ?? match?.[2]?.trimEnd();
  if (!boundary) throw malformed('The Content-Type has no boundary.');
  return boundary;
}

interface PartHead {
  name: string;
  filename: string;
}

const DISPOSITION = /^form-data\s*;(.*)$/is;
/** One parameter; in a quoted value a backslash escapes, as old browsers write it. */
const PARAMETER = /^\s*([a-z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*(?:;|$)/is;

function partHead({ headers }: Part): PartHead {
  const values = headers?.['content-disposition'];
  if (values === undefined || values.length !== 1) {
    throw malformed('Each part needs one Content-Disposition header.');
  }
  let rest = DISPOSITION.exec(values[0] ?? '')?.[1];
  if (rest === undefined) throw malformed('A part is no form-data.');
  const found = new Map<string, string>();
  while (rest.trim() !== '') {
    const match = PARAMETER.exec(rest);
    const name = match?.[1]?.toLowerCase();
    if (match === null || name === undefined || found.has(name)) {
      throw malformed('A Content-Disposition header cannot be read.');
    }
    const quoted = match[2]?.replace(/\\(["\\])/g, '$1');
    found.set(name, text(Buffer.from(quoted ?? match[3] ?? '', 'latin1')));
    rest = rest.slice(match[0].length);
  }
  const name = found.get('name');
  if (!name) throw malformed('A part has no name.');
  const filename = found.get('filename') ?? '';
  // Some browsers send the whole path (RFC 7578 section 4.2).
  return { name, filename: filename.slice(Math.max(...separators(filename)) + 1) };
}

const separators = (path: string): [number, number] => [
  path.lastIndexOf('/'),
  path.lastIndexOf('\\'),
];

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function text(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (cause) {
    throw new S3Error('MalformedPOSTRequest', {
      message: 'A field of the form is not valid UTF-8.',
      cause,
    });
  }
}

/** A part on its way in. */
interface Part {
  headers: Readonly<Record<string, readonly string[]>> | undefined;
  headerBytes: number;
  chunks: Uint8Array[];
  ended: boolean;
}

/** Feeds the parser as far as somebody waits for what comes out of it. */
class FormReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #dicer: Dicer;
  /** Parts that have begun and were not asked for. */
  readonly #parts: Part[] = [];
  #begun = 0;
  #finished = false;
  #failure: unknown;
  #feeding = false;
  /** Length of the last chunk. */
  #fed = 0;
  #ignoredBytes = 0;
  #wake: () => void = () => {};

  constructor(body: ByteSource, boundary: string) {
    this.#source = body[Symbol.asyncIterator]();
    const limits = { maxHeaderPairs: HEADER_PAIRS_MAX, maxHeaderSize: HEADER_BYTES_MAX };
    this.#dicer = new Dicer({ boundary, ...limits });
    this.#dicer.on('part', (stream) => this.#onPart(stream));
    this.#dicer.on('finish', () => {
      this.#finished = true;
      this.#wake();
    });
    this.#dicer.on('error', (error: Error) => this.#fail(malformed('The form is cut off.', error)));
  }

  /** The next part, with its headers; undefined at the end of the form. */
  async next(): Promise<Part | undefined> {
    for (;;) {
      const part = this.#parts[0];
      if (part?.headers !== undefined) return this.#parts.shift();
      if (part?.ended === true) throw malformed('A part has no headers.');
      if (this.#finished && part === undefined) return undefined;
      await this.#more();
      // Nothing has come of what was fed: no part, or one whose headers do not end.
      if (this.#parts[0]?.headers === undefined) this.#countIgnored();
    }
  }

  /** The next bytes of a part; undefined at its end. */
  async read(part: Part): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = part.chunks.shift();
      if (chunk !== undefined) return chunk;
      if (part.ended) return undefined;
      await this.#more();
    }
  }

  /** Until the parser has got more input and done something with it. */
  async #more(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!this.#feeding) this.#feed();
    await woken;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #feed(): void {
    this.#feeding = true;
    this.#source.next().then(
      (step) => {
        if (step.done === true) {
          // What follows is `finish` or an error, and `feeding` stays.
          this.#dicer.end();
          return;
        }
        this.#fed = step.value.length;
        this.#dicer.write(step.value, () => {
          // Streams hand on what they got in their own time: let them first.
          setImmediate(() => {
            this.#feeding = false;
            this.#wake();
          });
        });
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #countIgnored(): void {
    this.#ignoredBytes += this.#fed;
    this.#fed = 0;
    if (this.#ignoredBytes > IGNORED_BYTES_MAX) this.#fail(tooMuch());
  }

  #onPart(stream: Readable): void {
    const part: Part = { headers: undefined, headerBytes: 0, chunks: [], ended: false };
    this.#begun++;
    this.#parts.push(part);
    stream.on('header', (headers: Record<string, string[]>) => {
      for (const [name, values] of Object.entries(headers)) {
        for (const value of values) part.headerBytes += name.length + value.length + 4;
      }
      // The parser cuts silently; a header that was cut may say something else.
      if (part.headerBytes > HEADER_BYTES_MAX / 2) this.#fail(tooMuch());
      part.headers = headers;
      this.#wake();
    });
    stream.on('data', (chunk: Uint8Array) => {
      part.chunks.push(chunk);
      this.#wake();
    });
    stream.on('end', () => {
      part.ended = true;
      this.#wake();
    });
    stream.on('error', (error: Error) => this.#fail(malformed('The form is cut off.', error)));
    if (this.#begun > FORM_LIMITS.fields + 10) this.#fail(tooMuch());
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#wake();
  }
}

/** The content of the file; looks through the rest of the form before it ends. */
class FileBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #reader: FormReader;
  readonly #part: Part;
  #restSeen = false;

  constructor(reader: FormReader, part: Part) {
    this.#reader = reader;
    this.#part = part;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = await this.#reader.read(this.#part);
    if (chunk !== undefined) return { done: false, value: chunk };
    if (!this.#restSeen) await this.#seeRest();
    return { done: true, value: undefined };
  }

  /** Fields behind the file do not count, but a second file must not be lost without a word. */
  async #seeRest(): Promise<void> {
    let bytes = 0;
    for (let part = await this.#reader.next(); part; part = await this.#reader.next()) {
      if (partHead(part).name.toLowerCase() === 'file') {
        throw new S3Error('IncorrectNumberOfFilesInPostRequest');
      }
      for (let chunk = await this.#reader.read(part); chunk; ) {
        bytes += chunk.length;
        if (bytes > IGNORED_BYTES_MAX) throw tooMuch();
        chunk = await this.#reader.read(part);
      }
    }
    this.#restSeen = true;
  }
}

function malformed(message: string, cause?: unknown): S3Error {
  return new S3Error('MalformedPOSTRequest', { message, cause });
}

function tooMuch(): S3Error {
  return new S3Error('MaxPostPreDataLengthExceededError');
}
