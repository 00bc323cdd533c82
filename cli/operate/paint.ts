/** Colours for a terminal, and only there; never when `NO_COLOR` is set (no-color.org). */
import { stripVTControlCharacters } from 'node:util';

export interface Paint {
  good(text: string): string;
  warn(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
  strong(text: string): string;
}

const code =
  (on: number, off: number, enabled: boolean) =>
  (text: string): string =>
    enabled ? `\u001b[${on}m${text}\u001b[${off}m` : text;

export function createPaint(
  terminal: boolean,
  env: Readonly<Record<string, string | undefined>>,
): Paint {
  const enabled = terminal && (env['NO_COLOR'] ?? '') === '';
  return {
    good: code(32, 39, enabled),
    warn: code(33, 39, enabled),
    bad: code(31, 39, enabled),
    faint: code(2, 22, enabled),
    strong: code(1, 22, enabled),
  };
}

/** Characters that a terminal shows of it. */
export const visibleLength = (text: string): number =>
  Array.from(stripVTControlCharacters(text)).length;
