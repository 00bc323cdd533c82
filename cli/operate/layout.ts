/**
 * `ashlar layout …`, and the `ashlar node` verbs that change the layout: what would move is shown
 * first, and nothing moves before `apply`.
 */
import { byteSize } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type { LayoutChange, LayoutPlan, LayoutState } from '../../meta/admin-protocol.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { bytes, count } from './format.ts';
import type { Paint } from './paint.ts';
import { confirmed, type Screen } from './screen.ts';
import { columns } from './table.ts';

export const CHANGE_KINDS = [
  'add',
  'drain',
  'undrain',
  'remove',
  'replace',
  'zone',
  'weight',
] as const;

/** `add node-4 node-5`, `zone node-1 rack-a`, `weight node-1 4TiB`. Throws VerbError (usage). */
export function parseChanges(
  kind: string,
  words: readonly string[],
  force: boolean,
): LayoutChange[] {
  const [node, value, ...more] = words;
  if (node === undefined) throw usage(`layout stage ${kind}: name a node.`);
  switch (kind) {
    case 'add':
    case 'drain':
    case 'undrain':
    case 'replace':
      return words.map((word) => ({ kind, node: word }));
    case 'remove':
      return words.map((word) => ({ kind, node: word, ...(force ? { force } : {}) }));
    case 'zone':
      if (value === undefined || more.length > 0) throw usage('layout stage zone NODE ZONE.');
      return [{ kind, node, zone: value }];
    case 'weight': {
      const weight = byteSize().safeParse(value).data;
      if (weight === undefined || weight <= 0 || more.length > 0) {
        throw usage('layout stage weight NODE SIZE, such as 4TiB: its share of the data.');
      }
      return [{ kind, node, weight }];
    }
    default:
      throw usage(`layout stage ${kind}: expected one of ${CHANGE_KINDS.join(', ')}.`);
  }
}

const usage = (message: string): VerbError => new VerbError(message, EXIT.usage);

export async function showLayout(operator: Operator, screen: Screen): Promise<void> {
  const state = await operator.admin.layout(operator.call);
  screen.show(layoutJson(state), () => layoutLines(state, screen.paint));
}

export async function stageChanges(
  operator: Operator,
  screen: Screen,
  changes: LayoutChange[],
): Promise<void> {
  const plan = await operator.admin.stageLayout({ changes }, operator.call);
  screen.show(plan, () => [
    ...planLines(plan, screen.paint),
    '',
    'Staged; nothing moves yet. `ashlar layout apply` applies it, `ashlar layout revert` drops it.',
  ]);
}

/** Exit code 1 when nothing is staged, so that scripts can tell. */
export async function showDiff(operator: Operator, screen: Screen): Promise<void> {
  const { staged } = await operator.admin.layout(operator.call);
  if (staged === undefined) process.exitCode = EXIT.failed;
  screen.show(staged ?? null, () =>
    staged === undefined ? ['Nothing is staged.'] : planLines(staged, screen.paint),
  );
}

export async function applyStaged(
  operator: Operator,
  screen: Screen,
  how: { yes: boolean; epoch: number | undefined },
): Promise<void> {
  const { staged } = await operator.admin.layout(operator.call);
  if (staged === undefined) {
    throw new VerbError('Nothing is staged: `ashlar layout stage …` says what to change.');
  }
  if (how.epoch !== undefined && how.epoch !== staged.epoch) {
    throw new VerbError(
      `What is staged would make epoch ${staged.epoch}, not ${how.epoch}: look at it again with \`ashlar layout diff\`.`,
    );
  }
  await confirmAndApply(operator, screen, staged, how.yes);
}

export async function revertStaged(operator: Operator, screen: Screen): Promise<void> {
  const state = await operator.admin.revertLayout(operator.call);
  screen.show(layoutJson(state), () => ['What was staged is dropped.']);
}

/**
 * `ashlar node drain|undrain|remove|replace`: stage, show, ask, apply. What is not agreed to is not
 * left behind, unless something else was staged before.
 */
export async function changeNode(
  operator: Operator,
  screen: Screen,
  change: LayoutChange,
  yes: boolean,
): Promise<void> {
  const { admin, call } = operator;
  const before = await admin.layout(call);
  const plan = await admin.stageLayout({ changes: [change] }, call);
  try {
    await confirmAndApply(operator, screen, plan, yes);
  } catch (error) {
    if (before.staged === undefined) await admin.revertLayout(call).catch(() => {});
    throw error;
  }
}

async function confirmAndApply(
  operator: Operator,
  screen: Screen,
  plan: LayoutPlan,
  yes: boolean,
): Promise<void> {
  if (!screen.json) for (const line of planLines(plan, screen.paint)) console.log(line);
  const question = `Nothing has been moved yet. This makes layout ${plan.epoch} and moves about ${bytes(plan.movedBytes)}.`;
  if (!(await confirmed(yes, question, String(plan.epoch)))) {
    throw new VerbError('Not applied: nothing has changed.');
  }
  const state = await operator.admin.applyLayout({ epoch: plan.epoch }, operator.call);
  screen.show(layoutJson(state), () => ['', `Layout ${plan.epoch} is in force.${moving(state)}`]);
}

const moving = ({ movingGroups }: LayoutState): string =>
  movingGroups === 0
    ? ''
    : ` ${count(movingGroups)} groups are being moved: \`ashlar status\` shows how far.`;

/** The assignment is thousands of numbers that nobody reads. */
function layoutJson({ view, staged, movingGroups }: LayoutState): unknown {
  const { layout, previous } = view;
  return {
    epoch: layout?.epoch,
    groups: layout?.groups,
    nodes: layout?.nodes ?? [],
    previousEpochs: previous.map(({ epoch }) => epoch),
    movingGroups,
    staged,
  };
}

function layoutLines({ view, staged, movingGroups }: LayoutState, paint: Paint): string[] {
  const { layout } = view;
  if (layout === undefined) return ['There is no layout yet: storage nodes are missing.'];
  const shares = new Map<number, number>();
  for (let slot = 0; slot < layout.assignment.length / 2; slot++) {
    const node = layout.assignment.readUInt16LE(slot * 2);
    shares.set(node, (shares.get(node) ?? 0) + 1);
  }
  const rows = layout.nodes.map((node, index) => [
    node.id,
    node.zone,
    bytes(node.weight),
    count(shares.get(index) ?? 0),
  ]);
  return [
    `Layout ${layout.epoch}: ${count(layout.groups)} groups, three replicas each.${movingGroups > 0 ? ` ${count(movingGroups)} groups are still being moved.` : ''}`,
    '',
    ...columns(
      [['NODE', 'ZONE', 'WEIGHT', 'GROUPS'].map((text) => paint.faint(text)), ...rows],
      [2, 3],
    ),
    ...(staged === undefined ? [] : ['', 'Staged:', ...planLines(staged, paint)]),
  ];
}

export function planLines(plan: LayoutPlan, paint: Paint): string[] {
  const rows = plan.nodes.map((node) => {
    const change = node.groupsAfter - node.groupsBefore;
    return [
      node.id,
      node.zone,
      bytes(node.weight),
      count(node.groupsBefore),
      count(node.groupsAfter),
      change === 0 ? '' : `${change > 0 ? '+' : ''}${count(change)}`,
    ];
  });
  const head = ['NODE', 'ZONE', 'WEIGHT', 'GROUPS', 'AFTER', ''];
  return [
    ...plan.changes.map((change) => paint.strong(describe(change))),
    '',
    ...columns([head.map((text) => paint.faint(text)), ...rows], [2, 3, 4, 5]),
    '',
    `To move: ${count(plan.movedReplicas)} replicas of groups, about ${bytes(plan.movedBytes)}.`,
    ...plan.warnings.map((warning) => paint.warn(`Note: ${warning}`)),
  ];
}

function describe(change: LayoutChange): string {
  switch (change.kind) {
    case 'zone':
      return `zone ${change.node} -> ${change.zone}`;
    case 'weight':
      return `weight ${change.node} -> ${bytes(change.weight)}`;
    case 'remove':
      return `remove ${change.node}${change.force === true ? ' (forced)' : ''}`;
    default:
      return `${change.kind} ${change.node}`;
  }
}
