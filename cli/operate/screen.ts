/** What verbs write, and what they ask: lines for people, or one JSON value for programs. */
import { createInterface } from 'node:readline/promises';
import { processEnvironment } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { VerbError } from './exit.ts';
import { createPaint, type Paint } from './paint.ts';

export interface Screen {
  paint: Paint;
  /** `--json` was given. */
  json: boolean;
  /** Prints `value` with `--json`, else the lines. */
  show(value: unknown, lines: () => readonly string[]): void;
  /** A line that is drawn again and again on a terminal; nothing elsewhere. */
  progress(text: string): void;
  progressDone(): void;
}

export function createScreen(json: boolean): Screen {
  const terminal = process.stdout.isTTY === true;
  const drawing = process.stderr.isTTY === true && !json;
  return {
    paint: createPaint(terminal && !json, processEnvironment()),
    json,
    show(value, lines) {
      if (json) console.log(JSON.stringify(value, null, 2));
      else for (const line of lines()) console.log(line);
    },
    progress(text) {
      if (drawing) process.stderr.write(`\r\u001b[K${text}`);
    },
    progressDone() {
      if (drawing) process.stderr.write('\r\u001b[K');
    },
  };
}

const BAR_WIDTH = 30;

/** `[##########----------]  50 %`. */
export function bar(share: number): string {
  const part = Math.min(1, Math.max(0, share));
  const full = Math.round(part * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${(part * 100).toFixed(0).padStart(3)} %`;
}

/**
 * True: `--yes` was given, or the person typed `word`. Without a terminal there is nobody to ask:
 * VerbError (usage) that names `--yes`.
 */
export async function confirmed(yes: boolean, question: string, word: string): Promise<boolean> {
  if (yes) return true;
  if (process.stdin.isTTY !== true) {
    throw new VerbError(`${question} Add --yes to go on without being asked.`, EXIT.usage);
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await prompt.question(`${question} Type ${word} to go on: `)).trim() === word;
  } finally {
    prompt.close();
  }
}
