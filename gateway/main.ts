/** A gateway: the object engine, the S3 endpoint and the admin endpoint, assembled. */
import { createHash } from 'node:crypto';
import { loadDigests } from '../base/digest.ts';
import type { Effects } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import type { Log } from '../base/log.ts';
import type { MetaAdmin } from '../meta/admin-protocol.ts';
import type { Meta } from '../meta/protocol.ts';
import type { RpcRecord } from '../base/rpc/rpc-record.ts';
import { addClusterMetrics } from './cluster-metrics.ts';
import type { GatewayConfig } from './config.ts';
import { createConsumers } from './consumers.ts';
import { createHealthRoutes, isReady } from './health.ts';
import { readForm } from './http/form-upload.ts';
import { createHttpServer, type HttpServer } from './http/server.ts';
import { addRpcMetrics, createGatewayMetrics, type GatewayMetrics } from './metrics.ts';
import { createObjectEngine, type ObjectEngineStatus } from './object/create-engine.ts';
import type { Connect } from './object/node-pool.ts';
import { NO_KEYS, openKeyring } from './keys/open-keyring.ts';
import { patientMeta } from './patience.ts';
import { authenticate } from './s3/auth/authenticate.ts';
import { authenticateForm } from './s3/auth/form-signature.ts';
import { numberOf } from '../base/account-number.ts';
import { GatewayAccounts, withLookup } from './s3/auth/accounts.ts';
import { checkCredentials } from './s3/auth/credentials.ts';
import type { Account, Credential } from './s3/auth/identity.ts';
import { newBucketConfigs } from './s3/access/new-buckets.ts';
import type { EncryptionOptions } from './s3/encryption/request-encryption.ts';
import { isBucketName } from './s3/names.ts';
import { createPipeline, type Pipeline, type PipelineOptions } from './s3/pipeline.ts';
import { REGISTRY } from './s3/registry.ts';

export { resyncBucket } from './replication/resync.ts';

export interface GatewaySurroundings {
  effects: Effects;
  log: Log;
  meta: Meta;
  /** The state of the whole cluster, for metrics. */
  admin: Pick<MetaAdmin, 'adminStatus'>;
  /** Makes a client for a storage node. */
  connect: Connect;
  /** What becomes of the calls to other processes, for metrics. */
  rpc?: RpcRecord | undefined;
}

export interface RunningGateway {
  /** URL of the S3 endpoint, port resolved. */
  s3: string;
  /** URL of the endpoint for websites only; empty when there is none. */
  website: string;
  /** URL of the admin endpoint; empty when there is none. */
  admin: string;
  status(): ObjectEngineStatus;
  /** Takes no new requests, lets running ones finish, ends the lease. */
  stop(): Promise<void>;
}

const ROOT_ID = createHash('sha256').update('ashlar:root').digest('hex');

/** The operator's account: its canonical id is the same in every cluster. */
export const ROOT_ACCOUNT: Account = {
  id: ROOT_ID,
  number: numberOf(ROOT_ID),
  displayName: 'root',
  root: true,
};

/** The root account, and the others that the configuration names. */
function fixedCredentials({ root, accounts = [] }: GatewayConfig): Credential[] {
  return [
    { ...root, account: ROOT_ACCOUNT },
    ...accounts.map(({ accessKey, secretKey, displayName, id, number, email }) => {
      const canonical =
        id ?? createHash('sha256').update(`ashlar:account:${displayName}`).digest('hex');
      const account: Account = {
        id: canonical,
        number: number ?? numberOf(canonical),
        displayName,
        email: email?.toLowerCase(),
        root: false,
      };
      return { accessKey, secretKey, account };
    }),
  ];
}

/** How often a gateway that is not ready looks again. */
const READY_POLL_MS = 20;

/**
 * Resolves when the gateway listens; `whenReady` tells when it can serve. Throws Failure `invalid`
 * for bad credentials or bucket names, and Node's error when an address cannot be had.
 */
export async function startGateway(
  config: GatewayConfig,
  surroundings: GatewaySurroundings,
): Promise<RunningGateway> {
  const { effects, log } = surroundings;
  const meta = patientMeta(surroundings.meta, effects.clock);
  for (const bucket of config.buckets) {
    if (isBucketName(bucket)) continue;
    const rule = '3 to 63 lower-case letters, digits, dots and hyphens';
    throw new Failure('invalid', `a bucket cannot be called ${bucket}: choose ${rule}`);
  }
  const fixed = fixedCredentials(config);
  checkCredentials(fixed);
  const accounts = new GatewayAccounts({ fixed, meta, clock: effects.clock });
  await loadDigests();
  const objects = createObjectEngine({
    ...surroundings,
    meta,
    settings: { ...config.objects, name: config.name, drainMs: config.drainMs },
  });
  let stopping = false;
  const health = createHealthRoutes(objects.status, () => stopping);
  const metrics = createGatewayMetrics(objects.status, config.version);
  if (surroundings.rpc !== undefined) addRpcMetrics(metrics.metrics, surroundings.rpc);
  addClusterMetrics(metrics.metrics, surroundings.admin, effects.clock);
  const encryption: EncryptionOptions = {
    keys: openKeyring(config.encryption ?? NO_KEYS, { effects, fetch }),
    default: config.encryption?.default ?? 'off',
    mayBareKeys: bareKeyRule(config.s3.insecureCustomerKeys ?? 'loopback'),
  };
  const consumers = createConsumers({
    config,
    meta,
    objects: objects.engine,
    encryption,
    accounts,
    effects,
    log,
    metrics: metrics.metrics,
    fetch,
  });
  const trust = () => ({
    credentials: accounts,
    region: config.s3.region,
    now: effects.clock.now(),
    signatureV2: config.s3.signatureV2 === true ? config.s3 : undefined,
  });
  const pipelineOptions: PipelineOptions = {
    meta,
    objects: objects.engine,
    operations: REGISTRY,
    notifications: consumers.notifications,
    replicas: consumers.replicas,
    accessLog: consumers.accessLog,
    encryption,
    authenticate: (request) => withLookup(accounts, () => authenticate(request, trust())),
    forms: {
      readForm,
      authenticateForm: (fields) => withLookup(accounts, () => authenticateForm(fields, trust())),
    },
    accounts,
    newBuckets: config.newBuckets,
    region: config.s3.region,
    domains: config.s3.domains,
    effects,
    log,
    reserved: (request) => Promise.resolve(health(request)),
    observe: metrics.observe,
  };
  const siteDomains = config.websites?.domains ?? [];
  const pipeline = createPipeline({
    ...pipelineOptions,
    websites: { domains: siteDomains, every: false },
  });
  const s3 = createHttpServer({ pipeline: metrics.counted(pipeline), effects, log });
  const website =
    config.websites?.listen === undefined
      ? undefined
      : createHttpServer({
          pipeline: metrics.counted(
            createPipeline({
              ...pipelineOptions,
              websites: { domains: siteDomains, every: true },
            }),
          ),
          effects,
          log,
        });
  const admin =
    config.admin === undefined
      ? undefined
      : createHttpServer({ pipeline: adminPipeline(health, metrics), effects, log });
  try {
    await objects.start();
    const { host, port, sharePort } = config.s3;
    const site = config.websites?.listen;
    const s3Url = url(await s3.listen({ host, port, reusePort: sharePort }));
    const websiteUrl =
      site === undefined ? '' : url(await listenOn(website, { ...site, reusePort: sharePort }));
    const adminUrl = config.admin === undefined ? '' : url(await listenOn(admin, config.admin));
    consumers.start();
    return {
      s3: s3Url,
      website: websiteUrl,
      admin: adminUrl,
      status: objects.status,
      async stop() {
        stopping = true;
        await Promise.all([
          s3.close({ deadlineMs: config.drainMs }),
          website?.close({ deadlineMs: config.drainMs }),
          consumers.endDeliveries(config.drainMs),
        ]);
        await consumers.stop();
        await objects.stop();
        await admin?.close({ deadlineMs: 0 });
      },
    };
  } catch (error) {
    await consumers.stop();
    await objects.stop();
    throw error;
  }
}

/** Whether a client at an address may send a key of its own over a connection without TLS. */
function bareKeyRule(rule: 'never' | 'loopback' | 'always'): (remoteAddress: string) => boolean {
  if (rule !== 'loopback') return () => rule === 'always';
  return (address) => address === '::1' || /^(::ffff:)?127\./.test(address);
}

function listenOn(
  server: HttpServer | undefined,
  listen: { host: string; port: number; reusePort?: boolean },
): Promise<{ host: string; port: number }> {
  if (server === undefined) throw new Failure('internal', 'there is no such server');
  return server.listen(listen);
}

/** Waits until the gateway can serve, and creates the configured buckets. */
export async function whenReady(
  gateway: RunningGateway,
  config: GatewayConfig,
  { effects, log, meta }: GatewaySurroundings,
): Promise<void> {
  const started = effects.clock.monotonic();
  let told = 0;
  for (;;) {
    const health = isReady(gateway.status(), false);
    if (health.ok) break;
    const waited = Math.floor((effects.clock.monotonic() - started) / 5000);
    if (waited > told) {
      told = waited;
      log.warn({ reason: health.reason }, 'not ready yet: waiting');
    }
    await effects.clock.sleep(READY_POLL_MS);
  }
  for (const name of config.buckets) {
    const answer = await meta.createBucket({
      name,
      owner: ROOT_ACCOUNT.id,
      region: config.s3.region,
      configs: newBucketConfigs(config.newBuckets ?? 'aws', undefined),
    });
    if (!answer.ok && answer.refusal !== 'BucketAlreadyOwnedByYou') {
      log.error({ bucket: name, reason: answer.refusal }, 'the bucket could not be created');
    }
  }
}

function url({ host, port }: { host: string; port: number }): string {
  const shown = host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host;
  return `http://${shown.includes(':') ? `[${shown}]` : shown}:${port}`;
}

/** Health for load balancers and metrics for Prometheus; everything else is not found. */
function adminPipeline(
  health: ReturnType<typeof createHealthRoutes>,
  { metrics }: GatewayMetrics,
): Pipeline {
  const aliases: Readonly<Record<string, string>> = {
    '/healthz': '/_ashlar/health/live',
    '/readyz': '/_ashlar/health/ready',
  };
  return async (request) => {
    const rawPath = aliases[request.rawPath] ?? request.rawPath;
    const reply = health({ method: request.method, rawPath });
    if (reply !== undefined) return reply;
    if (request.method === 'GET' && rawPath === '/metrics') {
      const { contentType, body } = await metrics.expose();
      return { status: 200, headers: { 'Content-Type': contentType }, body };
    }
    return {
      status: 404,
      headers: { 'Content-Type': 'text/plain' },
      body: 'Not found. There are /healthz, /readyz, /_ashlar/health/cluster and /metrics.\n',
    };
  };
}
