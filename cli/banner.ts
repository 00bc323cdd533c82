/** What a person sees when Ashlar has started. */
import type { MetaStatus } from '../meta/protocol.ts';

export interface BannerInput {
  version: string;
  mode: 'start' | 'dev';
  s3: string;
  /** URL of the endpoint for websites only; undefined when there is none. */
  website?: string | undefined;
  admin: string;
  region: string;
  accessKey: string;
  /** Only when it was generated, and only for a terminal. */
  secretKey: string | undefined;
  /** Where the secret can be found, when it is not shown. */
  secretHint: string;
  buckets: readonly string[];
  data: string;
  dataIsTemporary: boolean;
  status: MetaStatus;
  /** How the reader runs Ashlar. */
  command: string;
  /** Prints client settings; undefined when there is no folder to find them in. */
  profileCommand: string | undefined;
}

const GIB = 1024 ** 3;

export function formatBytes(bytes: number): string {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(bytes >= 100 * GIB ? 0 : 1)} GiB`;
  return `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
}

/** Free space for objects: what the fullest-first three-way spread can still take, in bytes. */
export function freeForObjects(status: MetaStatus): number {
  const free = status.view.nodes.map((node) => node.freeBytes);
  return free.length === 0 ? 0 : Math.floor(free.reduce((sum, bytes) => sum + bytes, 0) / 3);
}

export function banner(input: BannerInput): string {
  const { status } = input;
  const nodes = status.view.nodes.map(
    (node) => `${node.id} ${node.state === 'up' ? 'ok' : 'DOWN'}`,
  );
  const row = (name: string, text: string): string => `  ${name.padEnd(9)} ${text}`;
  const mode =
    input.mode === 'dev'
      ? `dev mode: one process${input.dataIsTemporary ? ', data is deleted on exit (use --data to keep it)' : ''}`
      : 'three replicas of every block';
  return [
    '',
    `  Ashlar ${input.version}  ${mode}`,
    '',
    row('S3', `${input.s3}        region ${input.region}, path-style`),
    ...(input.website === undefined ? [] : [row('Websites', input.website)]),
    row('Admin', `${input.admin}`),
    row('Key', `${input.accessKey} / ${input.secretKey ?? `(secret: ${input.secretHint})`}`),
    ...(input.buckets.length > 0 ? [row('Buckets', input.buckets.join(', '))] : []),
    row('Nodes', `${nodes.join(' · ')}   free ${formatBytes(freeForObjects(status))}`),
    ...spareRows(input, row),
    row('Data', input.data),
    '',
    ...tryLines(input).map((line, index) => row(index === 0 ? 'Try' : '', line)),
    '  Ctrl+C stops.',
    '',
  ].join('\n');
}

/** Nodes that hold no data yet, and how to change that. */
function spareRows(
  { status: { view }, command }: BannerInput,
  row: (name: string, text: string) => string,
): string[] {
  const placed = new Set(view.layout?.nodes.map(({ id }) => id));
  const spare = view.nodes.map(({ id }) => id).filter((id) => !placed.has(id));
  if (view.layout === undefined || spare.length === 0) return [];
  return [
    row(
      'Spare',
      `${spare.join(', ')}: not used yet. ${command} layout stage add ${spare.join(' ')}; then layout apply`,
    ),
  ];
}

function tryLines({ profileCommand, s3, region, accessKey, secretKey }: BannerInput): string[] {
  const keys =
    profileCommand === undefined
      ? `export AWS_ACCESS_KEY_ID=${accessKey} AWS_SECRET_ACCESS_KEY=${secretKey ?? '…'} AWS_DEFAULT_REGION=${region}`
      : `eval "$(${profileCommand} --shell)"      # keys and endpoint for this shell`;
  return [
    keys,
    `aws --endpoint-url ${s3} s3 mb s3://my-bucket`,
    `aws --endpoint-url ${s3} s3 cp README.md s3://my-bucket/`,
    `curl -s ${s3}/_ashlar/health/cluster`,
  ];
}
