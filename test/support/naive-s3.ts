/**
 * A naive S3 in memory: the reference for the model test. One Map, no care for speed, errors by
 * their S3 names. Written from the API reference, not from the code that it is compared with.
 */
import { createHash } from 'node:crypto';
import { byBytes, naiveList, type NaiveQuery } from './model.ts';

export interface NaiveCondition {
  ifMatch?: string;
  ifNoneMatch?: '*';
}

interface NaiveObject {
  body: Buffer;
  etag: string;
  metadata: Record<string, string>;
}

interface NaiveUpload {
  key: string;
  parts: Map<number, { body: Buffer; etag: string }>;
  state: 'open' | 'aborted' | { completed: string };
}

/** Plain data to compare: what a request was answered with, or the name of its error. */
export type Outcome = Readonly<Record<string, unknown>>;

const md5 = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest();
const quoted = (hash: Buffer): string => `"${hash.toString('hex')}"`;
const refuse = (error: string): Outcome => ({ error });
const PART_MIN = 5 * 1024 * 1024;

export class NaiveS3 {
  readonly #objects = new Map<string, NaiveObject>();
  readonly #uploads: NaiveUpload[] = [];

  put(key: string, body: Buffer, note: string, condition: NaiveCondition): Outcome {
    const refused = this.#judge(key, condition);
    if (refused !== undefined) return refuse(refused);
    const etag = quoted(md5(body));
    this.#objects.set(key, { body, etag, metadata: { note } });
    return { etag };
  }

  get(key: string, range: [number, number] | undefined): Outcome {
    const object = this.#objects.get(key);
    if (object === undefined) return refuse('NoSuchKey');
    const { etag, metadata, body } = object;
    if (range === undefined) return { etag, metadata, md5: quoted(md5(body)), status: 200 };
    if (range[0] >= body.length) return refuse('InvalidRange');
    const bytes = body.subarray(range[0], range[1] + 1);
    return { etag, metadata, md5: quoted(md5(bytes)), status: 206 };
  }

  head(key: string): Outcome {
    const object = this.#objects.get(key);
    if (object === undefined) return refuse('NotFound');
    return { etag: object.etag, metadata: object.metadata, size: object.body.length };
  }

  remove(key: string, condition: NaiveCondition): Outcome {
    const refused = this.#judge(key, condition);
    if (refused !== undefined) return refuse(refused);
    this.#objects.delete(key);
    return {};
  }

  removeAll(keys: readonly string[]): Outcome {
    for (const key of keys) this.#objects.delete(key);
    return { deleted: [...keys] };
  }

  copy(from: string, to: string, note: string | undefined): Outcome {
    const source = this.#objects.get(from);
    if (source === undefined) return refuse('NoSuchKey');
    if (from === to && note === undefined) return refuse('InvalidRequest');
    this.#objects.set(to, { ...source, metadata: note === undefined ? source.metadata : { note } });
    return { etag: source.etag };
  }

  list(query: NaiveQuery): Outcome {
    const { keys, prefixes, next } = naiveList(this.#objects.keys(), query);
    const entries = keys.map((key) => {
      const object = this.#objects.get(key);
      return [key, object?.etag, object?.body.length];
    });
    return { entries, prefixes, truncated: next !== undefined };
  }

  createUpload(key: string): Outcome {
    this.#uploads.push({ key, parts: new Map(), state: 'open' });
    return {};
  }

  uploadPart(at: number, number: number, body: Buffer): Outcome {
    const upload = this.#uploads[at];
    if (upload?.state !== 'open') return refuse('NoSuchUpload');
    const etag = quoted(md5(body));
    upload.parts.set(number, { body, etag });
    return { etag };
  }

  copyPart(at: number, number: number, from: string): Outcome {
    const source = this.#objects.get(from);
    if (this.#uploads[at]?.state !== 'open') return refuse('NoSuchUpload');
    if (source === undefined) return refuse('NoSuchKey');
    return this.uploadPart(at, number, source.body);
  }

  /** Numbers and ETags of an upload's parts, as a client would list them to complete it. */
  storedParts(at: number): [number, string][] {
    const parts = [...(this.#uploads[at]?.parts ?? [])].sort(([a], [b]) => a - b);
    if (parts.length === 0) return [[1, quoted(md5(Buffer.alloc(0)))]];
    return parts.map(([number, { etag }]) => [number, etag]);
  }

  listParts(at: number): Outcome {
    const upload = this.#uploads[at];
    if (upload?.state !== 'open') return refuse('NoSuchUpload');
    const parts = [...upload.parts].sort(([a], [b]) => a - b);
    return { parts: parts.map(([number, { etag, body }]) => [number, etag, body.length]) };
  }

  listUploads(): Outcome {
    const open = this.#uploads.filter(({ state }) => state === 'open');
    return { keys: open.map(({ key }) => key).sort(byBytes) };
  }

  abort(at: number): Outcome {
    const upload = this.#uploads[at];
    if (upload?.state !== 'open') return refuse('NoSuchUpload');
    upload.state = 'aborted';
    return {};
  }

  complete(at: number, listed: readonly [number, string][], condition: NaiveCondition): Outcome {
    const upload = this.#uploads[at];
    if (upload === undefined || upload.state === 'aborted') return refuse('NoSuchUpload');
    // Whoever repeats the request gets the answer of the first time, and nothing happens.
    if (upload.state !== 'open') return { etag: upload.state.completed };
    // A part that is named twice in a row counts as it is named last.
    const named = listed.filter(([number], at) => number !== listed[at + 1]?.[0]);
    let before = 0;
    for (const [number] of named) {
      if (number < before) return refuse('InvalidPartOrder');
      before = number;
    }
    const chosen = [];
    for (const [number, etag] of named) {
      const part = upload.parts.get(number);
      if (part === undefined || part.etag !== etag) return refuse('InvalidPart');
      chosen.push(part);
    }
    if (chosen.slice(0, -1).some(({ body }) => body.length < PART_MIN)) {
      return refuse('EntityTooSmall');
    }
    const refused = this.#judge(upload.key, condition);
    if (refused !== undefined) return refuse(refused);
    const hashes = chosen.map(({ body }) => md5(body));
    const etag = `"${md5(Buffer.concat(hashes)).toString('hex')}-${chosen.length}"`;
    const body = Buffer.concat(chosen.map((part) => part.body));
    this.#objects.set(upload.key, { body, etag, metadata: {} });
    upload.state = { completed: etag };
    return { etag };
  }

  #judge(key: string, { ifMatch, ifNoneMatch }: NaiveCondition): string | undefined {
    const current = this.#objects.get(key);
    if (ifNoneMatch !== undefined) return current === undefined ? undefined : 'PreconditionFailed';
    if (ifMatch === undefined) return undefined;
    if (current === undefined) return 'NoSuchKey';
    return ifMatch === current.etag ? undefined : 'PreconditionFailed';
  }
}
