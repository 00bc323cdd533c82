/** Why a case does not pass: `reasons.json`, by case. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Reasons } from './verdict.ts';

export function readReasons(): Reasons {
  const here = dirname(fileURLToPath(import.meta.url));
  return JSON.parse(readFileSync(join(here, 'reasons.json'), 'utf8')) as Reasons;
}
