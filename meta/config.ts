/** The settings of the metadata service. */
import { z } from 'zod';
import { DAY_MS } from './lifecycle-protocol.ts';

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;

export const metaConfigSchema = z.strictObject({
  folder: z.string().min(1).describe('The folder that holds the metadata store.'),
  listen: z
    .string()
    .optional()
    .describe('Address to serve on: host:port, [v6]:port or unix:/path; none: in process only.'),
  mapSizeBytes: z
    .number()
    .int()
    .min(16 * MIB)
    .default(TIB)
    .describe('Address space for the store, the most it can grow to; costs no memory and no disk.'),
  freeFloorBytes: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      'Free space below which only deletions are taken; by default 256 MiB, at most 5 % of the disk.',
    ),
  watchdogMs: z
    .number()
    .int()
    .min(100)
    .default(10_000)
    .describe('Milliseconds after which a commit that is not durable ends the process.'),
  checkRows: z
    .number()
    .int()
    .min(0)
    .default(2_000_000)
    .describe('How many rows to read, at most, at the start after an unclean stop.'),
  expectedNodes: z
    .number()
    .int()
    .min(3)
    .default(3)
    .describe('The first placement map is made when this many storage nodes have registered.'),
  leaseTtlMs: z
    .number()
    .int()
    .min(1000)
    .default(10_000)
    .describe('Milliseconds after which the lease of a silent gateway ends.'),
  heartbeatMs: z
    .number()
    .int()
    .min(50)
    .default(1000)
    .describe('How often storage nodes say that they are alive, in milliseconds.'),
  nodeDownMs: z
    .number()
    .int()
    .min(200)
    .default(3500)
    .describe('Milliseconds without a heartbeat after which a storage node counts as down.'),
  nodeOutMs: z
    .number()
    .int()
    .min(1000)
    .default(600_000)
    .describe(
      'Milliseconds without a heartbeat after which the replicas of a node are made again elsewhere.',
    ),
  garbagePauseMs: z
    .number()
    .int()
    .min(10)
    .default(500)
    .describe('Pause between two rounds of the garbage job when there is little to do.'),
  scrubPeriodMs: z
    .number()
    .int()
    .min(1000)
    .default(7 * 86_400_000)
    .describe('In which every replica is read and verified once, in milliseconds.'),
  orphanWalkMs: z
    .number()
    .int()
    .min(1000)
    .default(3_600_000)
    .describe('How often blocks that no object refers to are looked for, in milliseconds.'),
  repairBytesPerSecond: z
    .number()
    .int()
    .min(0)
    .default(64 * MIB)
    .describe('How fast repair copies blocks unless an operator says otherwise; 0 for no limit.'),
  journal: z
    .enum(['sync', 'async', 'off'])
    .default('sync')
    .describe(
      'Metadata on two storage nodes before it is acknowledged (sync), soon after (async), or not at all (off).',
    ),
  snapshotEveryMs: z
    .number()
    .int()
    .min(1000)
    .default(3_600_000)
    .describe('Longest time between two snapshots of the metadata while it changes.'),
  journalBytesMax: z
    .number()
    .int()
    .min(MIB)
    .default(256 * MIB)
    .describe('Bytes of metadata journal after which a snapshot is due.'),
  lifecycleDayMs: z
    .number()
    .int()
    .min(1000)
    .max(DAY_MS)
    .default(DAY_MS)
    .describe(
      'Length of a day of lifecycle rules, in milliseconds. Only for tests: objects go much too early.',
    ),
  eventsMax: z
    .number()
    .int()
    .min(1)
    .default(100_000)
    .describe(
      'Events of one bucket that wait for delivery, at most; more are dropped and counted.',
    ),
  drainMs: z
    .number()
    .int()
    .min(0)
    .default(10_000)
    .describe('Longest time for running requests to finish at an orderly stop, in milliseconds.'),
});

/** As given: what has a default may be left out. */
export type MetaConfigInput = z.input<typeof metaConfigSchema>;
export type MetaConfig = z.output<typeof metaConfigSchema>;
