/** The ready file: written whole once requests are served, and again when a process is restarted. */
import type { Random } from '../base/clock.ts';
import { writeWhole } from './files.ts';
import type { RunningProcess } from './supervisor.ts';

export interface ReadyFile {
  /** URL of the S3 endpoint. */
  s3: string;
  /** URL of the endpoint for websites only; not there when there is none. */
  website?: string | undefined;
  /** URL of the admin endpoint. */
  admin: string;
  /** URLs of the admin endpoints of all gateways, the first one included. */
  admins: string[];
  processes: RunningProcess[];
}

export function writeReadyFile(path: string, content: ReadyFile, random: Random): void {
  writeWhole(path, `${JSON.stringify(content, null, 2)}\n`, random);
}
