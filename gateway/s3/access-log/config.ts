/** Server access logging of a bucket as it is kept: where its log goes. Pure. */
import type { Grant } from '../../../meta/protocol.ts';

export const LOGGING_CONFIG = 'logging';

/** Whether the names of log objects begin with the account, region and bucket, and by which date. */
export type LogKeyFormat = 'simple' | 'event-time' | 'delivery-time';

export interface LoggingConfig {
  bucket: string;
  prefix: string;
  /** Absent: not said, which is `simple`. */
  format?: LogKeyFormat | undefined;
  /** Beside those of the owner, on every log object. */
  grants?: Grant[] | undefined;
}

export function parseLogging(text: string): LoggingConfig {
  return JSON.parse(text) as LoggingConfig;
}

export function encodeLogging(config: LoggingConfig): string {
  return JSON.stringify(config);
}

/** Where a log comes from, for the names of its objects. */
export interface LogSource {
  bucket: string;
  /** Account number of its owner. */
  account: string;
  region: string;
}

const pad = (value: number, digits = 2): string => String(value).padStart(digits, '0');

/**
 * The key of a log object. `eventMs`: when its first record happened; `unique`: 16 characters.
 *
 * Source: "Log object key format", Amazon S3 User Guide.
 */
export function logKey(
  { prefix, format }: LoggingConfig,
  source: LogSource,
  { eventMs, nowMs, unique }: { eventMs: number; nowMs: number; unique: string },
): string {
  const byEvent = format === 'event-time';
  const at = new Date(byEvent ? eventMs : nowMs);
  const [year, month, day] = [
    pad(at.getUTCFullYear(), 4),
    pad(at.getUTCMonth() + 1),
    pad(at.getUTCDate()),
  ];
  // By the time of events an object holds a day, and its name tells no hour.
  const time = byEvent
    ? '00-00-00'
    : `${pad(at.getUTCHours())}-${pad(at.getUTCMinutes())}-${pad(at.getUTCSeconds())}`;
  const name = `${year}-${month}-${day}-${time}-${unique}`;
  if (format === undefined || format === 'simple') return prefix + name;
  const { account, region, bucket } = source;
  return `${prefix}${account}/${region}/${bucket}/${year}/${month}/${day}/${name}`;
}
