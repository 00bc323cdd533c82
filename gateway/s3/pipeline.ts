/**
 * The way of every request: address → detect → authenticate → authorize → screen → body → parse →
 * execute → serialize. The signature comes before anything that depends on what is stored, and there
 * is one exit: every reply, good or bad, leaves through `finish`.
 */
import type { Effects } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { Meta, Origin } from '../../meta/protocol.ts';
import type { ObjectEngine } from '../object/engine.ts';
import {
  type BucketSettings,
  createSettingsSource,
  type SettingsSource,
} from './access/bucket-settings.ts';
import {
  Guard,
  GuardedObjects,
  guardMeta,
  type RequestMeta,
  type RequestObjects,
} from './access/guard.ts';
import type { NewBuckets } from './access/new-buckets.ts';
import { type Address, isReserved, parseAddress } from './address.ts';
import { LOGGING_CONFIG } from './access-log/config.ts';
import type { LoggedRequest, SideAction } from './access-log/record.ts';
import type { AccountDirectory } from './auth/accounts.ts';
import type { Account, Authenticated } from './auth/identity.ts';
import { authorize, authorizeUnknown } from './authorize.ts';
import type { RequestAccess } from './access/request-access.ts';
import { addCorsHeaders, answerPreflight, CORS_CONFIG, decodeCors } from './cors.ts';
import { type Detection, detect } from './detect.ts';
import { type EncryptionOptions, RequestEncryption } from './encryption/request-encryption.ts';
import { type ErrorCode, S3Error } from './errors.ts';
import { toS3Error } from './failure-map.ts';
import type { FormReply } from './form/form.ts';
import { type FormUpload, receiveForm, type ReceiveOptions } from './form/receive.ts';
import { withHoistedHeaders } from './hoisted.ts';
import { readTextBody, refuseBody, requireLength } from './message-body.ts';
import type {
  AnyOperation,
  Context,
  NotificationTargets,
  OperationName,
  OperationRequest,
  QueryParameters,
  ReplicaTargets,
} from './operation.ts';
import { parseQuery } from './query.ts';
import { unwrap } from './refusal.ts';
import type { HeaderMap, RawReply, RawRequest } from './request.ts';
import { refuseAmbiguous, screenHeaders } from './screen.ts';
import { decodeWebsite, WEBSITE_CONFIG } from './website/config.ts';
import { errorPage } from './website/page.ts';
import { errorHeaders, serveSite, SiteFailure } from './website/serve.ts';
import { siteAddress, siteBucket, type WebsiteHosts } from './website/site-host.ts';
import { errorDocument } from './xml/error-document.ts';

/** What became of a request: for metrics, access and audit logs. Holds no secret. */
export interface RequestRecord {
  requestId: string;
  /** `unknown` when the request could not be told; S3's name also for what is not supported. */
  operation: string;
  method: string;
  bucket: string;
  key: string;
  accessKey: string | undefined;
  remoteAddress: string;
  status: number;
  /** S3 error code. */
  code: ErrorCode | undefined;
  /** Body bytes as announced by Content-Length on either side. */
  receivedBytes: number;
  sentBytes: number;
  /** Milliseconds until the reply was ready to be sent. */
  firstByteMs: number;
  /** Milliseconds until the reply was sent or its connection gone. */
  durationMs: number;
}

export interface PipelineOptions {
  meta: Meta;
  objects: ObjectEngine;
  operations: Readonly<Record<OperationName, AnyOperation>>;
  notifications: NotificationTargets;
  replicas: ReplicaTargets;
  /**
   * Checks the signature; throws S3Error. An unsigned request comes back without an account. At once
   * for every access key that is known.
   */
  authenticate(request: RawRequest): Authenticated | Promise<Authenticated>;
  accounts: AccountDirectory;
  /** What buckets are like that are made without saying so; `aws` by default. */
  newBuckets?: NewBuckets | undefined;
  /** Takes the forms of browsers apart, and tells who signed one. */
  forms: Omit<ReceiveOptions, 'now'>;
  encryption: EncryptionOptions;
  region: string;
  /** Hosts for virtual-host style, lower case without port: `s3.example.com`. */
  domains: readonly string[];
  /** Hosts of websites; undefined when there are none. */
  websites?: WebsiteHosts | undefined;
  effects: Effects;
  log: Log;
  /** Answers the paths under `/_ashlar/`, unauthenticated; `undefined`: there is no such path. */
  reserved?: ((request: RawRequest) => Promise<RawReply | undefined>) | undefined;
  /** Called once per request, after its reply has been sent. */
  observe?: ((record: RequestRecord) => void) | undefined;
  /** Takes the lines of access logs, of requests to buckets that have one. */
  accessLog?: Pick<AccessLogWriter, 'add'> | undefined;
}

/** `access-log.ts` beside this folder; named here so that nothing is imported from outside. */
interface AccessLogWriter {
  add(
    settings: BucketSettings,
    entry: Omit<LoggedRequest, 'bucketOwner' | 'bucket'>,
    action?: SideAction,
  ): void;
}

export type Pipeline = (request: RawRequest) => Promise<RawReply>;

/** What is known about a request so far, for its record and its error document. */
interface Progress {
  operation: string;
  address: Address | undefined;
  accessKey: string | undefined;
  /** Canonical id of who asks; undefined: nobody, or not known yet. */
  requester: string | undefined;
  code: ErrorCode | undefined;
  /** A visit to a website: errors are pages. */
  site: boolean;
  /** By what the request was judged, as far as it came. */
  guard: Guard | undefined;
  actions: SideAction[] | undefined;
}

/** Never rejects: whatever goes wrong becomes a reply. */
export function createPipeline(options: PipelineOptions): Pipeline {
  const { effects, observe } = options;
  const hostId = effects.random.bytes(24).toString('base64');
  const parts: Parts = { ...options, settings: createSettingsSource(options.meta) };
  return async (request) => {
    const startedMs = observe === undefined ? 0 : effects.clock.monotonic();
    const progress: Progress = {
      operation: 'unknown',
      address: undefined,
      accessKey: undefined,
      requester: undefined,
      code: undefined,
      site: false,
      guard: undefined,
      actions: undefined,
    };
    let reply: RawReply;
    try {
      reply = await answer(parts, request, progress);
    } catch (error) {
      reply = errorReply(error, request, progress, hostId, options.log);
    }
    const bucket = progress.address?.bucket ?? '';
    if (request.headers['origin'] !== undefined && bucket !== '' && request.method !== 'OPTIONS') {
      await addCors(parts.settings, request, reply, bucket);
    }
    reply.headers['x-amz-request-id'] = request.id;
    reply.headers['x-amz-id-2'] = hostId;
    reply.headers['Server'] = 'Ashlar';
    if (observe !== undefined) {
      record(observe, parts, { request, reply, progress, startedMs });
    }
    return reply;
  };
}

/** The options, and what the pipeline makes of them once. */
interface Parts extends PipelineOptions {
  settings: SettingsSource;
}

async function answer(options: Parts, request: RawRequest, progress: Progress): Promise<RawReply> {
  refuseAmbiguous(request);
  const site = options.websites && siteBucket(request, options.websites);
  if (site !== undefined) return visit(options, request, progress, site);
  if (isReserved(request.rawPath, request.headers['host'], options.domains)) {
    progress.operation = 'Reserved';
    const reply = await options.reserved?.(request);
    if (reply === undefined) throw new S3Error('InvalidURI');
    return reply;
  }
  const query = parseQuery(request.rawQuery);
  const address = parseAddress(request.rawPath, request.headers['host'], options.domains);
  progress.address = address;
  const { bucket } = address;
  const sentHeaders = withHoistedHeaders(request.headers, query);
  const target = { method: request.method, bucket, key: address.key, query, headers: sentHeaders };
  const detection = detect(target);
  progress.operation = nameOf(detection);
  if (detection.kind === 'preflight') {
    return preflight(options.settings, request.headers, address);
  }

  const authenticated = options.authenticate(request);
  const sent = authenticated instanceof Promise ? await authenticated : authenticated;
  const isForm = detection.kind === 'operation' && detection.name === 'PostObject';
  // A form says by its fields who sends it, what its key is, and what else headers say.
  const form = isForm ? await receive(options, request, sent, target) : undefined;
  const identity = form?.identity ?? sent;
  const key = form?.key ?? address.key;
  const headers = form?.headers ?? sentHeaders;
  progress.address = { ...address, key };
  progress.accessKey = identity.accessKey;
  progress.requester = identity.account?.id;
  const asked: Asked = {
    request,
    identity,
    bucket,
    key,
    query,
    headers,
    form: form?.reply,
    progress,
  };
  if (detection.kind === 'operation') return perform(options, detection.name, asked);
  await authorizeUnknown(identity, options.settings, bucket);
  throw detectionError(detection, request.method);
}

/** A request whose sender and address are known. */
interface Asked {
  request: RawRequest;
  identity: Authenticated;
  bucket: string;
  key: string;
  query: QueryParameters;
  /** Those hoisted from the query included; of a form, those that its fields say. */
  headers: HeaderMap;
  form: FormReply | undefined;
  progress: Progress;
}

/** Authorizes, screens and carries out one operation. */
async function perform(options: Parts, name: OperationName, asked: Asked): Promise<RawReply> {
  const { request, identity, bucket, key, query, headers, form } = asked;
  const operation = options.operations[name];
  const guard = new Guard(options.settings);
  asked.progress.guard = guard;
  const { region, settings, accounts, effects } = options;
  const authorization = await authorize(
    { ...asked, operation, form: form !== undefined },
    { region, settings, accounts, nowMs: effects.clock.now() },
    guard,
  );
  // What PutObject honours, a form may ask for.
  screenHeaders(request.method, headers, form === undefined ? name : 'PutObject');
  guard.origin = originOf(request, authorization.account, { isForm: form !== undefined, headers });
  screenQuery(operation, query);
  const xml = operation.body === 'xml' ? await readTextBody(request, identity, name) : '';
  if (operation.body === 'xml') await authorization.read(xml);
  const operationRequest: OperationRequest = {
    method: request.method,
    bucket,
    key,
    query,
    headers,
    xml,
    contentLength:
      form === undefined ? (identity.decodedLength ?? request.contentLength) : undefined,
    form,
  };
  if (operation.body === 'stream') requireLength(request);
  else if (operation.body === 'none') await refuseBody(request, identity);
  const reply = await operation.run(operationRequest)(
    new RequestContext(options, request, {
      ...authorization,
      identity,
      guard,
      bucket,
      progress: asked.progress,
    }),
  );
  if (authorization.charged()) reply.headers['x-amz-request-charged'] = 'requester';
  return reply;
}

/**
 * A visit to the website of a bucket: reads of nobody. The configuration is asked for each time, since
 * a visitor who is only sent elsewhere asks for nothing else that would show that it has changed.
 */
async function visit(
  options: Parts,
  request: RawRequest,
  progress: Progress,
  bucket: string,
): Promise<RawReply> {
  progress.site = true;
  progress.operation = 'WebsiteVisit';
  const { method } = request;
  if (method === 'OPTIONS') {
    progress.operation = 'Preflight';
    progress.address = siteAddress(request, bucket);
    return preflight(options.settings, request.headers, progress.address);
  }
  if (method !== 'GET' && method !== 'HEAD') {
    throw new S3Error('MethodNotAllowed', {
      details: { Method: method, ResourceType: 'WEBSITE' },
      headers: { Allow: 'GET, HEAD' },
    });
  }
  if (request.headers['authorization'] !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'Websites are for visitors without credentials: Unsupported Authorization Type.',
    });
  }
  progress.address = siteAddress(request, bucket);
  const { key } = progress.address;
  const answer = await options.meta.getBucketConfig({ bucket, name: WEBSITE_CONFIG });
  const { value } = unwrap(answer, { bucket });
  if (value === undefined) {
    throw new S3Error('NoSuchWebsiteConfiguration', { details: { BucketName: bucket } });
  }
  const identity: Authenticated = {
    account: undefined,
    accessKey: undefined,
    body: request.body,
    decodedLength: undefined,
    trailer: undefined,
  };
  return serveSite({
    config: decodeWebsite(value),
    visit: {
      host: request.headers['host'] ?? '',
      secure: request.secure,
      key,
      rawQuery: request.rawQuery,
    },
    method,
    headers: request.headers,
    read(how, page, headers) {
      const name = how === 'GET' ? 'GetObject' : 'HeadObject';
      const query = parseQuery('');
      const asked = { request, identity, bucket, key: page, query, headers, progress };
      return perform(options, name, { ...asked, form: undefined });
    },
  });
}

/** For the events of what the request does. The header is judged by `requiredAccess`. */
function originOf(
  { id: requestId, remoteAddress: sourceIp }: RawRequest,
  account: Account,
  { isForm, headers }: { isForm: boolean; headers: HeaderMap },
): Origin {
  const origin: Origin = { account: account.id, requestId, sourceIp };
  if (headers['x-amz-replication-status'] !== undefined) return { ...origin, cause: 'replica' };
  return isForm ? { ...origin, cause: 'post' } : origin;
}

/** Throws InvalidArgument when somebody signed the request: a form is signed in its fields. */
function receive(
  { effects, forms }: PipelineOptions,
  request: RawRequest,
  sent: Authenticated,
  target: { bucket: string; headers: HeaderMap },
): Promise<FormUpload> {
  if (sent.account !== undefined) {
    throw new S3Error('InvalidArgument', {
      message:
        'Only one auth mechanism allowed: a form upload is signed by the fields of the form.',
    });
  }
  requireLength(request);
  return receiveForm(request, target, { ...forms, now: effects.clock.now() });
}

/** Built once per request. The abort signal is made only for those who ask for it. */
class RequestContext implements Context {
  readonly requestId: string;
  readonly account: Account;
  readonly payload: Authenticated;
  readonly meta: RequestMeta;
  readonly objects: RequestObjects;
  readonly notifications: NotificationTargets;
  readonly replicas: ReplicaTargets;
  readonly clock: Effects['clock'];
  readonly log: Log;
  readonly region: string;
  readonly access: RequestAccess;
  readonly accounts: AccountDirectory;
  readonly newBuckets: NewBuckets;
  readonly #request: RawRequest;
  readonly #guard: Guard;
  readonly #bucket: string;
  readonly #encryption: EncryptionOptions;
  readonly #progress: Progress;
  readonly #parts: Parts;

  constructor(
    options: Parts,
    request: RawRequest,
    judged: {
      account: Account;
      access: RequestAccess;
      identity: Authenticated;
      guard: Guard;
      bucket: string;
      progress: Progress;
    },
  ) {
    const { account, access, identity, guard, bucket, progress } = judged;
    this.#progress = progress;
    this.#parts = options;
    this.access = access;
    this.accounts = options.accounts;
    this.newBuckets = options.newBuckets ?? 'aws';
    this.requestId = request.id;
    this.account = account;
    this.payload = identity;
    this.meta = guardMeta(options.meta, guard);
    this.objects = new GuardedObjects(options.objects, guard);
    this.notifications = options.notifications;
    this.replicas = options.replicas;
    this.clock = options.effects.clock;
    this.log = options.log;
    this.region = options.region;
    this.#request = request;
    this.#guard = guard;
    this.#bucket = bucket;
    this.#encryption = options.encryption;
  }

  logAction(action: SideAction): void {
    if (logSettings(this.#parts, this.#progress, action.bucket) === undefined) return;
    this.#progress.actions ??= [];
    this.#progress.actions.push(action);
  }

  get settings(): BucketSettings | undefined {
    return this.#guard.settings(this.#bucket);
  }

  watchSettings(check: (settings: BucketSettings) => void): void {
    this.#guard.watch(this.#bucket, check);
  }

  get encryption(): RequestEncryption {
    return new RequestEncryption(this.#encryption, this.#request);
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }
}

function nameOf(detection: Detection): string {
  switch (detection.kind) {
    case 'operation':
    case 'unsupported':
      return detection.name;
    case 'not-allowed':
      return 'unknown';
    case 'preflight':
      return 'Preflight';
    default:
      return detection satisfies never;
  }
}

function detectionError(
  detection: Extract<Detection, { kind: 'unsupported' | 'not-allowed' }>,
  method: string,
): S3Error {
  if (detection.kind === 'unsupported') {
    return new S3Error('NotImplemented', {
      message: `${detection.name} is not implemented.`,
      details: { Operation: detection.name },
    });
  }
  return new S3Error('MethodNotAllowed', {
    details: { Method: method, ResourceType: detection.resource },
    headers: { Allow: detection.allow.join(', ') },
  });
}

/** The answer to an unsigned OPTIONS, by the rules that the bucket has at this moment. */
async function preflight(
  source: SettingsSource,
  headers: HeaderMap,
  { bucket, key }: Address,
): Promise<RawReply> {
  const request = { headers, key };
  // What is no preflight costs no question.
  if (bucket === '' || headers['origin'] === undefined) {
    return answerPreflight(request, { kind: 'found', rules: undefined });
  }
  const found = await source.reload(bucket);
  if (!found.ok) return answerPreflight(request, { kind: 'none' });
  const rules = found.value.parsed(CORS_CONFIG, decodeCors);
  return answerPreflight(request, { kind: 'found', rules });
}

/**
 * What a browser needs to show a reply to a page of another origin. A reply that went well was made
 * in the state of the bucket that is kept; a refusal may not have been. Whatever goes wrong here, the
 * reply stays what it is.
 */
async function addCors(
  source: SettingsSource,
  request: RawRequest,
  reply: RawReply,
  bucket: string,
): Promise<void> {
  try {
    const found = await (reply.status < 400 ? source.get(bucket) : source.reload(bucket));
    const rules = found.ok ? found.value.parsed(CORS_CONFIG, decodeCors) : undefined;
    if (rules !== undefined) addCorsHeaders(reply, request, rules);
  } catch {
    // The metadata service is away: a page of another origin does not see the reply.
  }
}

/** A version id on an operation that takes none would be silently dropped. */
function screenQuery(operation: AnyOperation, query: QueryParameters): void {
  if (!query.has('versionId') || operation.query.includes('versionId')) return;
  throw new S3Error('InvalidArgument', {
    message: 'This operation does not accept a version-id.',
    details: { ArgumentName: 'versionId', ArgumentValue: query.get('versionId') ?? '' },
  });
}

/** Status and XML of anything thrown. HEAD and 304 have no body. */
function errorReply(
  thrown: unknown,
  request: RawRequest,
  progress: Progress,
  hostId: string,
  log: Log,
): RawReply {
  const failure = thrown instanceof SiteFailure ? thrown : undefined;
  const error = failure?.error ?? toS3Error(thrown);
  progress.code = error.code;
  if (error.status >= 500 && error.cause !== undefined) {
    const fields = {
      requestId: request.id,
      operation: progress.operation,
      code: error.code,
      error: error.cause,
    };
    if (error.status === 500) log.error(fields, 'request failed');
    else log.warn(fields, 'request could not be served');
  }
  const headers: RawReply['headers'] = { ...error.headers };
  if (progress.site && error.status !== 304) Object.assign(headers, errorHeaders(error));
  if (request.method === 'HEAD' || error.status === 304) return { status: error.status, headers };
  if (progress.site) {
    headers['Content-Type'] = 'text/html; charset=utf-8';
    const body = errorPage(error, { requestId: request.id, hostId, second: failure?.second });
    return { status: error.status, headers, body };
  }
  headers['Content-Type'] = 'application/xml';
  const { address } = progress;
  const resource =
    address === undefined
      ? request.rawPath
      : `/${address.bucket}${address.key && `/${address.key}`}`;
  return {
    status: error.status,
    headers,
    body: errorDocument(error, { resource, requestId: request.id, hostId }),
  };
}

interface Finished {
  request: RawRequest;
  reply: RawReply;
  progress: Progress;
  startedMs: number;
}

/** Hands the request's record out when the reply has been sent. */
function record(observe: (record: RequestRecord) => void, parts: Parts, done: Finished): void {
  const { request, reply, progress, startedMs } = done;
  const { clock } = parts.effects;
  const firstByteMs = clock.monotonic() - startedMs;
  const { finished } = reply;
  reply.finished = () => {
    finished?.();
    const durationMs = clock.monotonic() - startedMs;
    const sentBytes = request.method === 'HEAD' ? 0 : bodyBytes(reply);
    observe({
      requestId: request.id,
      operation: progress.operation,
      method: request.method,
      bucket: progress.address?.bucket ?? '',
      key: progress.address?.key ?? '',
      accessKey: progress.accessKey,
      remoteAddress: request.remoteAddress,
      status: reply.status,
      code: progress.code,
      receivedBytes: request.contentLength ?? 0,
      sentBytes,
      firstByteMs,
      durationMs,
    });
    const own = logSettings(parts, progress, progress.address?.bucket ?? '');
    // Most buckets have no log.
    if (own === undefined && progress.actions === undefined) return;
    const entry = {
      key: progress.address?.key ?? '',
      atMs: clock.now() - durationMs,
      requester: progress.requester,
      operation: progress.operation,
      request,
      reply,
      code: progress.code,
      sentBytes,
      receivedBytes: Number(
        request.headers['x-amz-decoded-content-length'] ?? request.contentLength ?? 0,
      ),
      totalMs: durationMs,
      turnAroundMs: firstByteMs,
    };
    if (own !== undefined) parts.accessLog?.add(own, entry);
    for (const action of progress.actions ?? []) {
      const settings = logSettings(parts, progress, action.bucket);
      if (settings !== undefined) parts.accessLog?.add(settings, entry, action);
    }
  };
}

/** Of a bucket that has an access log; undefined when it has none, or nothing is known of it. */
function logSettings(
  { accessLog, settings }: Parts,
  { guard }: Progress,
  bucket: string,
): BucketSettings | undefined {
  if (accessLog === undefined) return undefined;
  const known = guard?.settings(bucket) ?? settings.peek(bucket);
  return known?.text(LOGGING_CONFIG) === undefined ? undefined : known;
}

function bodyBytes(reply: RawReply): number {
  if (reply.body === undefined) return 0;
  if (typeof reply.body === 'string') return Buffer.byteLength(reply.body);
  if (reply.body instanceof Uint8Array) return reply.body.length;
  return Number(reply.headers['Content-Length'] ?? 0);
}
