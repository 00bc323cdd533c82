/**
 * How the operators' calls travel: on the same port and with the same limits as those of `wire.ts`,
 * under numbers of their own, with a shape for every command.
 */
import { methodTable } from '../base/rpc/method-table.ts';
import { DATA_KEY_CHANGES_MAX, JOBS, type MetaAdmin } from './admin-protocol.ts';
import { WRAPPED_KEY_BYTES_MAX } from './protocol.ts';
import { objectEncryption } from './wire.ts';
import {
  bytesUpTo,
  count,
  flag,
  listOf,
  name,
  oneOf,
  optional,
  record,
  type Shape,
  size,
  text,
  variant,
} from './shapes.ts';

export type AdminMethod = keyof MetaAdmin;

/** Far above every number of `wire.ts`. */
const ADMIN_FIRST = 1001;

/** Positions are numbers on the wire: append only. */
export const ADMIN_METHODS = methodTable(
  [
    'adminStatus',
    'nodes',
    'layout',
    'stageLayout',
    'applyLayout',
    'revertLayout',
    'jobs',
    'controlJob',
    'locateObject',
    'startFsck',
    'fsckReport',
    'journal',
    'createBackup',
    'createAccount',
    'listAccounts',
    'deleteAccount',
    'createAccessKey',
    'deleteAccessKey',
    'listBuckets',
    'bucketInfo',
    'setBucketQuota',
    'walkDataKeys',
    'rewrapDataKeys',
  ],
  ADMIN_FIRST,
);

/** Methods without a command: their only argument is how long to wait. */
export const ADMIN_BARE: ReadonlySet<AdminMethod> = new Set<AdminMethod>([
  'adminStatus',
  'nodes',
  'layout',
  'revertLayout',
  'jobs',
  'fsckReport',
  'journal',
]);

/** Longest key of a row. */
const PLACE_BYTES_MAX = 4096;

/** Changes in one command. */
const CHANGES_MAX = 1000;

const nothing: Shape = () => undefined;
const ofNode = record({ node: name });

export const ADMIN_COMMANDS: Readonly<Record<AdminMethod, Shape>> = {
  adminStatus: nothing,
  nodes: nothing,
  layout: nothing,
  stageLayout: record({
    changes: listOf(
      variant({
        add: ofNode,
        drain: ofNode,
        undrain: ofNode,
        remove: record({ node: name, force: optional(flag) }),
        replace: ofNode,
        zone: record({ node: name, zone: name }),
        weight: record({ node: name, weight: size }),
      }),
      CHANGES_MAX,
    ),
  }),
  applyLayout: record({ epoch: count }),
  revertLayout: nothing,
  jobs: nothing,
  controlJob: record({
    name: oneOf(...JOBS),
    action: oneOf('run', 'pause', 'resume'),
    rate: optional(size),
  }),
  locateObject: record({
    bucket: text,
    key: text,
    versionId: optional(text),
    from: count,
    limit: count,
    verify: flag,
  }),
  startFsck: record({ repair: flag }),
  fsckReport: nothing,
  journal: nothing,
  createBackup: record({ folder: text }),
  createAccount: record({
    id: text,
    number: text,
    displayName: text,
    email: optional(text),
    key: optional(record({ accessKey: text, secretKey: text })),
  }),
  listAccounts: record({ after: optional(text), limit: count }),
  deleteAccount: record({ account: text }),
  createAccessKey: record({ account: text, accessKey: text, secretKey: text }),
  deleteAccessKey: record({ accessKey: text }),
  walkDataKeys: record({
    after: optional(bytesUpTo(PLACE_BYTES_MAX)),
    active: optional(text),
    limit: count,
  }),
  rewrapDataKeys: record({
    changes: listOf(
      record({
        place: bytesUpTo(PLACE_BYTES_MAX),
        from: bytesUpTo(WRAPPED_KEY_BYTES_MAX),
        encryption: objectEncryption,
      }),
      DATA_KEY_CHANGES_MAX,
    ),
  }),
  listBuckets: record({ prefix: text, after: optional(text), limit: count }),
  bucketInfo: record({ bucket: text }),
  setBucketQuota: record({ bucket: text, bytes: optional(count), objects: optional(count) }),
};
