/**
 * Configuration: flag > environment > YAML file > default, one zod schema, every key with one
 * sentence. Unknown keys and unknown `ASHLAR_*` variables are errors that name the nearest known
 * one. The only module that reads `process.env`.
 *
 * A setting's path is its place in the schema (`s3.publicUrl`); its variable and its flag follow
 * from it (`ASHLAR_S3_PUBLIC_URL`, `--s3-public-url`). A secret (`meta({ secret: true })`) may also
 * be given as the name of a file that holds it: `ASHLAR_ROOT_SECRET_KEY_FILE`, `root.secretKeyFile`.
 */
import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

/** Bad configuration: every problem found, each a sentence. The command exits with 78. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export interface Leaf {
  path: string;
  variable: string;
  flag: string;
  description: string;
  secret: boolean;
  schema: z.ZodType;
}

export interface Loaded<T> {
  value: T;
  /** Where each setting came from: `flag --data`, `ASHLAR_DATA`, `file ashlar.yaml`, `default`. */
  sources: ReadonlyMap<string, string>;
  leaves: readonly Leaf[];
}

export interface ConfigInput {
  /** By path; strings as typed, or values already parsed. `undefined` means not given. */
  flags: Readonly<Record<string, unknown>>;
  env: Readonly<Record<string, string | undefined>>;
  /** The configuration file's text and name, when there is one. */
  file?: { name: string; text: string } | undefined;
  /** Reads a secret's file. */
  readFile?: (path: string) => string;
}

/** The process's environment: for main functions to hand to `loadConfig`. */
export function processEnvironment(): Record<string, string | undefined> {
  return process.env;
}

const words = (path: string): string[] =>
  path.split('.').flatMap((part) => part.replace(/([a-z0-9])([A-Z])/g, '$1 $2').split(' '));

/** All settings of a schema, in its order. */
export function leavesOf(schema: z.ZodObject, prefix = ''): Leaf[] {
  return Object.entries(schema.shape).flatMap(([name, child]): Leaf[] => {
    const path = prefix + name;
    if (child instanceof z.ZodObject) return leavesOf(child, `${path}.`);
    const leaf = child as z.ZodType;
    const meta = leaf.meta() ?? {};
    return [
      {
        path,
        variable: `ASHLAR_${words(path).join('_').toUpperCase()}`,
        flag: `--${words(path).join('-').toLowerCase()}`,
        description: meta.description ?? '',
        secret: meta['secret'] === true,
        schema: leaf,
      },
    ];
  });
}

/** Reads every source, checks every value, and says where each one came from. */
export function loadConfig<S extends z.ZodObject>(
  schema: S,
  input: ConfigInput,
): Loaded<z.output<S>> {
  const leaves = leavesOf(schema);
  const readFile = input.readFile ?? ((path: string) => readFileSync(path, 'utf8'));
  const problems: string[] = [];
  const fileValues = readConfigFile(input.file, leaves, problems);
  problems.push(...unknownVariables(input.env, leaves));

  const sources = new Map<string, string>();
  const raw: Record<string, unknown> = {};
  for (const leaf of leaves) {
    const found = findValue(leaf, input, fileValues, readFile, problems);
    sources.set(leaf.path, found?.source ?? 'default');
    const parsed = parseLeaf(leaf, found?.value);
    if (parsed.ok) setPath(raw, leaf.path, parsed.value);
    else problems.push(`${found?.source ?? leaf.variable}: ${leaf.path} ${parsed.problem}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { value: raw as z.output<S>, sources, leaves };
}

interface Found {
  value: unknown;
  source: string;
}

function findValue(
  leaf: Leaf,
  input: ConfigInput,
  fileValues: ReadonlyMap<string, unknown>,
  readFile: (path: string) => string,
  problems: string[],
): Found | undefined {
  const fromFlag = input.flags[leaf.path];
  if (fromFlag !== undefined) return { value: fromFlag, source: `flag ${leaf.flag}` };
  const fromEnv = input.env[leaf.variable];
  const secretFile = leaf.secret ? input.env[`${leaf.variable}_FILE`] : undefined;
  if (fromEnv !== undefined && secretFile !== undefined) {
    problems.push(`${leaf.variable} and ${leaf.variable}_FILE are both set: keep one of them.`);
  }
  if (fromEnv !== undefined) return { value: fromEnv, source: leaf.variable };
  if (secretFile !== undefined) {
    return readSecret(`${leaf.variable}_FILE`, secretFile, readFile, problems);
  }
  if (fileValues.has(leaf.path)) {
    return { value: fileValues.get(leaf.path), source: `file ${input.file?.name}` };
  }
  const named = leaf.secret ? fileValues.get(`${leaf.path}File`) : undefined;
  if (typeof named !== 'string') return undefined;
  return readSecret(`${leaf.path}File`, named, readFile, problems);
}

function readSecret(
  name: string,
  path: string,
  readFile: (path: string) => string,
  problems: string[],
): Found | undefined {
  try {
    return { value: readFile(path).trimEnd(), source: name };
  } catch {
    problems.push(`${name}: the file ${path} cannot be read. Create it, or correct the name.`);
    return undefined;
  }
}

type Parsed = { ok: true; value: unknown } | { ok: false; problem: string };

/**
 * Flags and variables are text. A text is tried as it is first, then as a YAML scalar (numbers,
 * booleans), then as a comma-separated list, so that schemas need not know where a value comes from.
 */
function parseLeaf(leaf: Leaf, value: unknown): Parsed {
  const first = leaf.schema.safeParse(value);
  if (first.success) return { ok: true, value: first.data };
  if (typeof value === 'string') {
    for (const other of [scalar(value), splitList(value)]) {
      const again = leaf.schema.safeParse(other);
      if (again.success) return { ok: true, value: again.data };
    }
  }
  const what = first.error.issues.map((issue) => issue.message).join('; ');
  const got = leaf.secret || value === undefined ? '' : ` (got ${JSON.stringify(value)})`;
  return { ok: false, problem: `is not valid: ${what}${got}. ${leaf.description}` };
}

function scalar(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return undefined;
  }
}

const splitList = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

function readConfigFile(
  file: ConfigInput['file'],
  leaves: readonly Leaf[],
  problems: string[],
): Map<string, unknown> {
  const values = new Map<string, unknown>();
  if (file === undefined) return values;
  let content: unknown;
  try {
    content = parseYaml(file.text);
  } catch (error) {
    problems.push(`file ${file.name}: not valid YAML: ${(error as Error).message.split('\n')[0]}`);
    return values;
  }
  if (content === null || content === undefined) return values;
  const known = new Set(leaves.flatMap((l) => (l.secret ? [l.path, `${l.path}File`] : [l.path])));
  const sections = new Set(leaves.flatMap((leaf) => prefixesOf(leaf.path)));
  const visit = (value: unknown, path: string): void => {
    if (known.has(path)) {
      values.set(path, value);
      return;
    }
    const isSection = path === '' || sections.has(path);
    if (isSection && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [name, child] of Object.entries(value)) {
        visit(child, path === '' ? name : `${path}.${name}`);
      }
      return;
    }
    if (isSection && value === null) return;
    const hint = isSection ? 'must be a section with keys' : nearestHint(path, [...known]);
    problems.push(
      `file ${file.name}: ${path || 'the top level'}: unknown key${isSection ? ',' : '.'} ${hint}`,
    );
  };
  visit(content, '');
  return values;
}

const prefixesOf = (path: string): string[] =>
  path
    .split('.')
    .slice(0, -1)
    .map((_, index, parts) => parts.slice(0, index + 1).join('.'));

function unknownVariables(
  env: Readonly<Record<string, string | undefined>>,
  leaves: readonly Leaf[],
): string[] {
  const known = leaves.flatMap((leaf) =>
    leaf.secret ? [leaf.variable, `${leaf.variable}_FILE`] : [leaf.variable],
  );
  const set = new Set([...known, CONFIG_FILE_VARIABLE]);
  return Object.keys(env)
    .filter((name) => name.startsWith('ASHLAR_') && !set.has(name) && env[name] !== undefined)
    .map((name) => `${name}: unknown variable. ${nearestHint(name, [...set])}`);
}

/** Names the configuration file; the same as `--config FILE`. */
export const CONFIG_FILE_VARIABLE = 'ASHLAR_CONFIG';

function nearestHint(name: string, known: readonly string[]): string {
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best === undefined ? 'There are no settings.' : `Did you mean ${best.candidate}?`;
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** The value of the setting at `path` (`s3.listen`). */
export function settingAt(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((node, part) => (node as Record<string, unknown>)[part], value);
}

function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const parts = path.split('.');
  const last = parts.pop() ?? '';
  let node = target;
  for (const part of parts) {
    node[part] ??= {};
    node = node[part] as Record<string, unknown>;
  }
  node[last] = value;
}

/** A line per setting, for `ashlar config show`: path, value (secrets hidden), source. */
export function describeConfig(
  loaded: Loaded<unknown>,
): { path: string; value: unknown; source: string; description: string }[] {
  return loaded.leaves.map((leaf) => {
    const value = settingAt(loaded.value, leaf.path);
    return {
      path: leaf.path,
      value: leaf.secret && value !== undefined ? '(hidden)' : value,
      source: loaded.sources.get(leaf.path) ?? 'default',
      description: leaf.description,
    };
  });
}

const UNITS: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** A size in bytes: a number, or text such as `1MiB`, `10 GB`. */
export function byteSize(): z.ZodType<number, unknown> {
  return z.unknown().transform((value, context) => {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(String(value).trim());
    const unit = UNITS[(match?.[2] || 'b').toLowerCase()];
    if (match === null || unit === undefined) {
      context.addIssue('expected a size such as 1MiB or 10GB');
      return z.NEVER;
    }
    return Math.round(Number(match[1]) * unit);
  });
}

const DURATIONS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A duration in milliseconds: text such as `500ms`, `10s`, `5m`, or a number of milliseconds. */
export function duration(): z.ZodType<number, unknown> {
  return z.unknown().transform((value, context) => {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(String(value).trim());
    const unit = DURATIONS[(match?.[2] || 'ms').toLowerCase()];
    if (match === null || unit === undefined) {
      context.addIssue('expected a duration such as 500ms, 10s or 5m');
      return z.NEVER;
    }
    return Math.round(Number(match[1]) * unit);
  });
}
