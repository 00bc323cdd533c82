/** `ashlar object locate|verify BUCKET/KEY`: where every block of an object lies, and how it is. */
import { systemClock } from '../../base/clock.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type { LocatedBlock, LocatedObject } from '../../meta/admin-protocol.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { ago, bytes, count } from './format.ts';
import type { Paint } from './paint.ts';
import type { Screen } from './screen.ts';
import { columns } from './table.ts';

const PAGE = 256;

/** `photos/2026/cat.jpg`: the bucket ends at the first slash. */
export function parseObjectName(text: string): { bucket: string; key: string } {
  const name = text.replace(/^s3:\/\//, '');
  const slash = name.indexOf('/');
  if (slash <= 0 || slash === name.length - 1) {
    throw new VerbError(`expected BUCKET/KEY (got "${text}")`, EXIT.usage);
  }
  return { bucket: name.slice(0, slash), key: name.slice(slash + 1) };
}

/** With `verify` every replica is read and checked by its node; exit code 1 unless all are good. */
export async function locateObject(
  operator: Operator,
  screen: Screen,
  name: string,
  options: { verify: boolean; versionId?: string | undefined },
): Promise<void> {
  const { verify, versionId } = options;
  const object = { ...parseObjectName(name), versionId };
  const blocks: LocatedBlock[] = [];
  let found: LocatedObject | undefined;
  let from: number | undefined = 0;
  while (from !== undefined) {
    const query = { ...object, from, limit: PAGE, verify };
    const answer = await operator.admin.locateObject(query, operator.call);
    if (!answer.ok) throw new VerbError(refused(answer.refusal, object));
    found = answer.value;
    blocks.push(...found.blocks);
    from = found.next;
    screen.progress(`${count(blocks.length)} blocks`);
  }
  screen.progressDone();
  if (found === undefined) return;
  const whole = { ...found, blocks };
  const good = blocks.every((block) => block.replicas.every(({ state }) => state === 'good'));
  if (verify && !good) process.exitCode = EXIT.failed;
  screen.show(whole, () => objectLines(whole, screen.paint, systemClock.now()));
}

function refused(
  refusal: string,
  { bucket, key, versionId }: { bucket: string; key: string; versionId: string | undefined },
): string {
  if (refusal === 'NoSuchVersion') return `There is no version ${versionId} of ${bucket}/${key}.`;
  if (refusal === 'MethodNotAllowed') {
    return `Version ${versionId} of ${bucket}/${key} is a delete marker: it has no blocks.`;
  }
  if (refusal === 'NoSuchBucket') return `There is no bucket ${bucket}.`;
  if (refusal === 'NoSuchKey') return `There is no object ${bucket}/${key}.`;
  return `${bucket}/${key}: ${refusal}.`;
}

export function objectLines(object: LocatedObject, paint: Paint, nowMs: number): string[] {
  const rows = object.blocks.map((block) => [
    count(block.offset),
    bytes(block.size),
    `${block.blob}/${block.index}`,
    String(block.group),
    ...block.replicas.map(({ node, zone, state, verifiedMs }) => {
      const where = zone === node ? node : `${node} (${zone})`;
      const when = verifiedMs === undefined ? '' : `, ${ago(verifiedMs, nowMs)}`;
      return state === 'good' ? paint.good(`${where} good${when}`) : paint.bad(`${where} ${state}`);
    }),
  ]);
  const head = ['OFFSET', 'SIZE', 'BLOCK', 'GROUP', 'REPLICAS'];
  const bad = object.blocks.flatMap(({ replicas }) => replicas).filter((r) => r.state !== 'good');
  return [
    `${object.bucket}/${object.key}  ${bytes(object.size)}  ETag ${object.etag}` +
      (object.versionId === undefined ? '' : `  version ${object.versionId}`),
    '',
    ...(rows.length === 0
      ? ['It has no blocks: it is empty.']
      : columns([head.map((text) => paint.faint(text)), ...rows], [0, 1, 3])),
    '',
    bad.length === 0
      ? paint.good('Every replica is good.')
      : paint.bad(
          bad.length === 1
            ? '1 replica is not good.'
            : `${count(bad.length)} replicas are not good.`,
        ),
  ];
}
