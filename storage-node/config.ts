/** The settings of a storage node. */
import { z } from 'zod';

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;

/** Node ids and zones: 1 … 64 of these characters. */
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

export const storageNodeConfigSchema = z.strictObject({
  id: z
    .string()
    .regex(NAME)
    .optional()
    .describe("The node's name in the cluster; by default the one in its folder, or a new one."),
  folder: z
    .string()
    .min(1)
    .describe('The folder that holds the blocks; ideally alone on a disk of its own.'),
  listen: z
    .string()
    .optional()
    .describe('Address to serve on: host:port, [v6]:port or unix:/path; none: in process only.'),
  advertise: z
    .string()
    .optional()
    .describe('Address at which gateways reach the node; by default the one it listens on.'),
  zone: z
    .string()
    .regex(NAME)
    .optional()
    .describe("Failure domain (disk, host, rack, site); by default the node's id."),
  mapSizeBytes: z
    .number()
    .int()
    .min(MIB)
    .default(16 * TIB)
    .describe('Address space for the store, the most it can grow to; costs no memory and no disk.'),
  freeFloorBytes: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      'Free space below which blocks are refused; by default 1 GiB or 1 % of the disk, whichever is more, but at most 10 %.',
    ),
  watchdogMs: z
    .number()
    .int()
    .min(100)
    .default(10_000)
    .describe('Milliseconds after which a write that is not durable ends the process.'),
  warmBytes: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      'How much of the store to expect in memory, so that reading it needs no prefetch; by default an eighth of the memory.',
    ),
  checkBytes: z
    .number()
    .int()
    .min(0)
    .default(64 * MIB)
    .describe('How much of the newest content to verify at the start after an unclean stop.'),
  drainMs: z
    .number()
    .int()
    .min(0)
    .default(10_000)
    .describe('Longest time for running requests to finish at an orderly stop, in milliseconds.'),
});

export type StorageNodeConfig = z.output<typeof storageNodeConfigSchema>;
