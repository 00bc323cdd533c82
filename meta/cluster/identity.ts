/**
 * Who may register as a storage node. Pure: every rule is about what the disk says of itself and what
 * is known of the node. A refusal says what to do; `conflict` may pass by itself or by an operator's
 * act and is asked again; `invalid`, `unauthenticated` and, for a removed node, `fenced` are for good.
 */
import { Failure } from '../../base/failure.ts';
import type { NodeRegistration } from '../protocol.ts';
import type { NodeRow } from './rows.ts';

export interface KnownNode {
  row: NodeRow;
  /** It has blocks by the newest layout or by one whose data is still being moved. */
  placed: boolean;
}

/** Throws the Failure that the node is refused with. Instances that are alive are judged elsewhere. */
export function assertMayRegister(
  registration: NodeRegistration,
  clusterId: string,
  known: KnownNode | undefined,
): void {
  const { id, clusterId: disk } = registration;
  if (disk !== undefined && disk !== clusterId) {
    throw new Failure(
      'unauthenticated',
      `the disk of node ${id} belongs to cluster ${disk}, this is cluster ` +
        `${clusterId}: give the node an empty folder, or the address of its own cluster`,
    );
  }
  if (known === undefined) return;
  if (disk === undefined) assertMayBeBlank(registration, known);
  else assertPresentDisk(registration, known.row);
}

function assertMayBeBlank(registration: NodeRegistration, { row, placed }: KnownNode): void {
  const { id, instance } = registration;
  // The same process again: it has not heard the answer to its first registration.
  if (instance === row.instance) return;
  if (row.replaced || !placed || row.removal === 'gone') return;
  // The same disk again: it crashed before it could note the cluster.
  if (!row.joined && isKnownDisk(registration, row)) return;
  throw new Failure(
    'conflict',
    `node ${id} holds data of this cluster, but its disk is blank. If the disk is not mounted, mount ` +
      `it. If it was replaced by a new one, run \`ashlar node replace ${id}\`: then the node is ` +
      'taken in again and filled from the other replicas',
  );
}

/** As far as the ids of disks tell: those from before there were any are not told apart. */
function isKnownDisk({ disk }: NodeRegistration, row: NodeRow): boolean {
  return disk === undefined || row.disk === undefined || disk === row.disk;
}

/** A disk that another one has taken the place of does not come back: that one holds the data now. */
function assertSameDisk(registration: NodeRegistration, row: NodeRow): void {
  const { id } = registration;
  if (row.replaced || isKnownDisk(registration, row)) return;
  throw new Failure(
    'invalid',
    `the folder of node ${id} is on a disk that was replaced: the cluster knows another one under this ` +
      'id. Start the node on that one; to use this disk, empty its folder and give it an id of its own',
  );
}

function assertPresentDisk(registration: NodeRegistration, row: NodeRow): void {
  const { id, instance, generation } = registration;
  if (row.removal === 'gone') {
    throw new Failure(
      'fenced',
      `node ${id} was removed from the cluster: its folder is not needed any more. To use the disk ` +
        'again, start the node with an empty folder',
    );
  }
  assertSameDisk(registration, row);
  if (generation === undefined || row.generation === undefined) return;
  const copied = generation === row.generation && row.instance !== instance;
  if (generation > row.generation || (!copied && generation === row.generation)) return;
  throw new Failure(
    'invalid',
    `the folder of node ${id} is an old copy: it has been started ${generation} times, the disk that ` +
      `the cluster knows ${row.generation} times. Start the node on its present disk. If that is ` +
      `lost, empty the folder and run \`ashlar node replace ${id}\``,
  );
}
