/**
 * The health of the whole cluster as one sentence: what state everything is in, and what to do if
 * something should be done. Pure; the worst that is true decides.
 */
import { nodesOfGroup } from './cluster/layout.ts';
import type { AdminStatus, JobStatus, JournalStatus, NodeInfo } from './admin-protocol.ts';
import type { Layout } from './protocol.ts';

export interface Verdict {
  healthy: boolean;
  sentence: string;
}

/** Replicas that a block must have at the least for a write of it to be accepted. */
const WRITE_MIN = 2;

/** Placement groups by how many of their nodes can take a block. */
export function usableReplicas(layout: Layout, usable: ReadonlySet<string>): number[] {
  const groups = [0, 0, 0, 0];
  const members = layout.nodes.map(({ id }) => usable.has(id));
  for (let group = 0; group < layout.groups; group++) {
    const count = nodesOfGroup(layout, group).filter((index) => members[index] === true).length;
    groups[count] = (groups[count] ?? 0) + 1;
  }
  return groups;
}

type Facts = Omit<AdminStatus, 'healthy' | 'sentence'>;

export function judge(facts: Facts): Verdict {
  const bad = worst(facts);
  if (bad !== undefined) return { healthy: false, sentence: bad };
  const placed = facts.nodes.filter((node) => node.inLayout);
  const spare = facts.nodes.filter((node) => node.condition === 'spare' && !node.inLayout);
  const sentences = [
    `Healthy: ${placed.length} of ${placed.length} nodes are up and every object has its three replicas.`,
  ];
  if (facts.view.previous.length > 0) sentences.push('Data is being moved to the new layout.');
  if (spare.length > 0) {
    const ids = names(spare);
    const [verb, them] = spare.length === 1 ? ['holds', 'it'] : ['hold', 'them'];
    sentences.push(
      `${ids} ${verb} no data yet: \`ashlar layout stage add ${spare.map(({ id }) => id).join(' ')}\` adds ${them}.`,
    );
  }
  return { healthy: true, sentence: sentences.join(' ') };
}

function worst(facts: Facts): string | undefined {
  const { layout } = facts.view;
  if (layout === undefined) return waiting(facts.nodes);
  const { lost } = facts.replicas;
  if (lost > 0) {
    return `Data is missing: ${blobs(lost)} a block without any good replica on the nodes that answer. Bring missing nodes back; \`ashlar fsck\` tells which.`;
  }
  const away = facts.nodes.filter((node) => node.inLayout && isAway(node));
  const full = facts.nodes.filter((node) => node.inLayout && !isAway(node) && node.full);
  const usable = new Set(
    facts.nodes.filter((node) => !isAway(node) && !node.full).map((node) => node.id),
  );
  const groups = usableReplicas(layout, usable);
  const blocked = groups.slice(0, WRITE_MIN).reduce((sum, count) => sum + count, 0);
  if (blocked > 0) return refusing(blocked, layout.groups, away, full);
  return degraded(facts, away, full) ?? journalTrouble(facts.journal) ?? jobTrouble(facts.jobs);
}

const isAway = ({ condition }: NodeInfo): boolean => condition === 'down' || condition === 'out';

function waiting(nodes: readonly NodeInfo[]): string {
  const known =
    nodes.length === 0 ? 'none has registered yet' : `${names(nodes)} registered so far`;
  return `Waiting for storage nodes: ${known}. Objects can be stored once three or more have registered.`;
}

function refusing(
  blocked: number,
  groups: number,
  away: readonly NodeInfo[],
  full: readonly NodeInfo[],
): string {
  const reasons = [
    ...(away.length > 0 ? [`${names(away)} ${are(away)} down`] : []),
    ...(full.length > 0 ? [`${names(full)} ${are(full)} full`] : []),
  ].join(', ');
  const what =
    away.length > 0
      ? 'Start the nodes again (reads work as long as one replica answers).'
      : 'Delete data or add nodes; reads and deletes work.';
  return `Writes are refused for ${share(blocked, groups)} of the data: ${reasons}. ${what}`;
}

function degraded(
  facts: Facts,
  away: readonly NodeInfo[],
  full: readonly NodeInfo[],
): string | undefined {
  const { missingOne, missingTwo } = facts.replicas;
  if (away.length > 0) {
    const out = away.filter(({ condition }) => condition === 'out');
    if (out.length > 0) {
      return `Degraded: ${names(out)} ${are(out)} gone for long, its data is being made again elsewhere. Bring it back, or take it out: \`ashlar node remove ${out[0]?.id ?? ''}\`.`;
    }
    return `Degraded: ${names(away)} ${are(away)} down. Everything works with two replicas; start the node again.`;
  }
  if (missingTwo > 0) {
    return `Healing: ${blobs(missingTwo)} two replicas too few; they are repaired first.`;
  }
  const queued = Math.max(missingOne, facts.queues.repair);
  if (queued > 0) return `Healing: ${blobs(queued)} a replica too few; repair is under way.`;
  if (full.length > 0) {
    return `Degraded: ${names(full)} ${are(full)} full, so new data there has two replicas. Delete data, add a node, or give it more room.`;
  }
  return undefined;
}

function journalTrouble({ mode, problem }: JournalStatus): string | undefined {
  if (mode === 'off' || problem === undefined) return undefined;
  return `The metadata journal has a problem: ${problem}`;
}

function jobTrouble(jobs: readonly JobStatus[]): string | undefined {
  const paused = jobs.filter(({ state, name }) => state === 'paused' && name === 'repair');
  if (paused.length > 0) {
    return 'Repair is paused: nothing is healed until `ashlar repair resume`.';
  }
  return undefined;
}

const names = (nodes: readonly NodeInfo[]): string =>
  nodes.length > 4
    ? `${nodes.length} nodes`
    : nodes.map(({ id }) => id).join(nodes.length === 2 ? ' and ' : ', ');

const are = (nodes: readonly NodeInfo[]): string => (nodes.length === 1 ? 'is' : 'are');

const blobs = (count: number): string =>
  count === 1 ? '1 blob has' : `${count.toLocaleString('en')} blobs have`;

function share(part: number, whole: number): string {
  const percent = (100 * part) / whole;
  return percent >= 99.95 ? 'all' : `${percent.toFixed(percent < 1 ? 1 : 0)} %`;
}
