/** What differs when a person watches. */
import type { Loaded } from '../base/config.ts';
import type { LogLevel } from '../base/log.ts';
import type { Settings } from './settings.ts';

/** On a terminal the banner says what matters: only warnings are logged, unless asked otherwise. */
export function terminalLogLevel(loaded: Loaded<Settings>): LogLevel {
  const asked = loaded.sources.get('log.level') !== 'default';
  return process.stdout.isTTY === true && !asked ? 'warn' : loaded.value.log.level;
}

/** How the reader of our output runs the command: through npm in a checkout, else by its name. */
export function commandName(env: Readonly<Record<string, string | undefined>>): string {
  return env['npm_lifecycle_event'] === undefined ? 'ashlar' : 'npm run -s ashlar --';
}
