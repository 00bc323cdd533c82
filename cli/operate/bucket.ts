/** `ashlar bucket list|info|quota`: what buckets hold and may hold. */
import { byteSize } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type { BucketInfo } from '../../meta/admin-protocol.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { bytes, count, percent } from './format.ts';
import type { Paint } from './paint.ts';
import type { Screen } from './screen.ts';
import { columns } from './table.ts';

const PAGE = 100;
const NO_LIMIT = 'none';

export async function listBuckets(
  operator: Operator,
  screen: Screen,
  prefix: string,
): Promise<void> {
  const buckets: BucketInfo[] = [];
  let after: string | undefined;
  do {
    const page = await operator.admin.listBuckets({ prefix, after, limit: PAGE }, operator.call);
    buckets.push(...page.buckets);
    after = page.next;
  } while (after !== undefined);
  screen.show(buckets, () => listLines(buckets, screen.paint));
}

export async function showBucket(
  operator: Operator,
  screen: Screen,
  bucket: string,
): Promise<void> {
  const info = await operator.admin.bucketInfo({ bucket }, operator.call);
  screen.show(info, () => infoLines(info, screen.paint));
}

/** What is not named stays as it is. */
export async function setQuota(
  operator: Operator,
  screen: Screen,
  bucket: string,
  wanted: { bytes: unknown; objects: unknown },
): Promise<void> {
  const before = await operator.admin.bucketInfo({ bucket }, operator.call);
  if (wanted.bytes === undefined && wanted.objects === undefined) {
    throw new VerbError('Say --bytes, --objects or both; `none` takes a limit off.', EXIT.usage);
  }
  const command = {
    bucket,
    bytes: limitOf(wanted.bytes, before.quota.bytes, parseBytes),
    objects: limitOf(wanted.objects, before.quota.objects, parseObjects),
  };
  const info = await operator.admin.setBucketQuota(command, operator.call);
  screen.show(info, () => infoLines(info, screen.paint));
}

function limitOf(
  wanted: unknown,
  present: number | undefined,
  parse: (text: string) => number,
): number | undefined {
  if (wanted === undefined) return present;
  if (wanted === NO_LIMIT) return undefined;
  return parse(typeof wanted === 'string' ? wanted : '');
}

export function parseBytes(text: string): number {
  const parsed = byteSize().safeParse(text);
  if (parsed.success && Number.isSafeInteger(parsed.data)) return parsed.data;
  throw new VerbError(`--bytes: expected a size such as 500MiB or 2TB, or none.`, EXIT.usage);
}

export function parseObjects(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new VerbError('--objects: expected a number, or none.', EXIT.usage);
}

export function listLines(buckets: readonly BucketInfo[], paint: Paint): string[] {
  if (buckets.length === 0) return ['There are no buckets.'];
  const head = ['BUCKET', 'OBJECTS', 'SIZE', 'QUOTA', 'VERSIONING', 'CREATED'];
  const rows = buckets.map((info) => [
    info.name,
    count(info.usage.objects),
    bytes(info.usage.bytes),
    quotaText(info, paint),
    info.versioning ?? 'never',
    new Date(info.createdMs).toISOString().slice(0, 10),
  ]);
  return columns([head.map((text) => paint.faint(text)), ...rows], [1, 2]);
}

/** How full it is, in red where nothing more goes in. */
function quotaText({ usage, quota }: BucketInfo, paint: Paint): string {
  const parts = (['bytes', 'objects'] as const).flatMap((kind) => {
    const max = quota[kind];
    if (max === undefined) return [];
    const shown = kind === 'bytes' ? bytes(max) : `${count(max)} objects`;
    const text = `${percent(usage[kind], max)} of ${shown}`;
    return [usage[kind] >= max ? paint.bad(text) : text];
  });
  return parts.length === 0 ? '-' : parts.join(', ');
}

export function infoLines(info: BucketInfo, paint: Paint): string[] {
  const { usage } = info;
  return [
    `${info.name}  ${count(usage.objects)} objects, ${bytes(usage.bytes)} (older versions and delete markers included)`,
    '',
    ...columns([
      ['owner', info.owner],
      ['region', info.region],
      ['created', new Date(info.createdMs).toISOString()],
      ['versioning', info.versioning ?? 'never enabled'],
      ['quota', quotaText(info, paint)],
      ['configured', info.configs.length === 0 ? '-' : info.configs.join(', ')],
    ]),
  ];
}
