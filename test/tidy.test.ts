/** The walls of the house, held by a test (ARCHITECTURE.md, "Rooms and walls"). */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '../gateway/s3/errors.ts';
import { OPERATION_NAMES } from '../gateway/s3/operation.ts';
import { OPERATIONS_BEGIN, OPERATIONS_END, operationTable } from './conformance/compatibility.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const ROOMS = ['base', 'storage-node', 'meta', 'gateway', 'cli', 'test'] as const;

interface Source {
  /** Path from the root, with forward slashes. */
  path: string;
  text: string;
  /** Module specifiers, as written. */
  imports: string[];
  isTest: boolean;
}

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

/** Covers `import … from`, `import type`, `export … from`, bare imports, `import()` and `import('x').T`. */
function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const patterns = [
    /\b(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ''));
}

const sources: Source[] = ROOMS.flatMap((room) => [...walk(room)]).map((path) => {
  const text = readFileSync(join(root, path), 'utf8');
  const isTest =
    path.startsWith('test/') || path.endsWith('.test.ts') || path.includes('/test-support');
  return { path, text, imports: importsOf(text), isTest };
});

/** What a path may import from other rooms: longest prefix wins. Its own room is always open. */
const WALLS: readonly [prefix: string, allowed: readonly string[]][] = [
  ['base/', []],
  ['storage-node/', ['base/']],
  ['meta/', ['base/', 'storage-node/protocol.ts', 'storage-node/client.ts']],
  [
    'gateway/',
    [
      'base/',
      'storage-node/protocol.ts',
      'storage-node/client.ts',
      'meta/protocol.ts',
      'meta/lifecycle-protocol.ts',
      'meta/client.ts',
      'meta/admin-protocol.ts',
    ],
  ],
  // The gateway's inner folders: the engine knows nothing of S3 or HTTP, S3 nothing of HTTP.
  ['gateway/object/', ['base/', 'storage-node/protocol.ts', 'meta/protocol.ts']],
  ['gateway/keys/', ['base/', 'meta/protocol.ts']],
  [
    'gateway/s3/',
    [
      'base/',
      'meta/protocol.ts',
      'meta/lifecycle-protocol.ts',
      'gateway/object/engine.ts',
      'gateway/keys/protocol.ts',
      'gateway/keys/context.ts',
      'gateway/keys/testing-keys.ts',
    ],
  ],
  [
    'cli/',
    [
      'base/',
      'meta/admin-protocol.ts',
      'meta/admin-client.ts',
      'gateway/keys/open-keyring.ts',
      'gateway/keys/protocol.ts',
      ...['protocol.ts', 'client.ts', 'main.ts', 'config.ts'].flatMap((file) =>
        ['storage-node', 'meta', 'gateway'].map((room) => `${room}/${file}`),
      ),
    ],
  ],
  ['test/', ['']],
];

function ruleFor(path: string): readonly [string, readonly string[]] {
  const rules = WALLS.filter(([prefix]) => path.startsWith(prefix));
  const best = rules.sort((a, b) => b[0].length - a[0].length)[0];
  assert.ok(best, `no wall rule for ${path}`);
  return best;
}

function target(source: Source, specifier: string): string {
  return relative(root, join(root, dirname(source.path), specifier)).replaceAll('\\', '/');
}

test('rooms import only what their walls allow', () => {
  const broken: string[] = [];
  for (const source of sources) {
    const [prefix, allowed] = ruleFor(source.path);
    const extra = source.isTest ? ['base/'] : [];
    for (const specifier of source.imports.filter((name) => name.startsWith('.'))) {
      const to = target(source, specifier);
      if (to.startsWith(prefix) || [...allowed, ...extra].some((open) => to.startsWith(open))) {
        continue;
      }
      broken.push(`${source.path} imports ${to}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('every relative import names an existing file', () => {
  const missing = sources.flatMap((source) =>
    source.imports
      .filter((name) => name.startsWith('.') && !existsSync(join(root, target(source, name))))
      .map((name) => `${source.path}: ${name}`),
  );
  assert.deepEqual(missing, []);
});

/** A dangerous dependency has one home. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  lmdb: ['storage-node/block-store.ts', 'meta/engine/lmdb.ts'],
  express: ['gateway/http/'],
  '@fastify/busboy': ['gateway/http/'],
  'fast-xml-parser': ['gateway/s3/xml/'],
  pino: ['base/log.ts'],
  'prom-client': ['base/metrics.ts'],
  yaml: ['base/config.ts'],
  commander: ['cli/'],
  '@aws-sdk/client-s3': ['gateway/replication/', 'cli/testing.ts'],
  '@nats-io/transport-node': ['gateway/events/sinks/'],
  '@redis/client': ['gateway/events/sinks/'],
  '@platformatic/kafka': ['gateway/events/sinks/'],
};

test('a dangerous dependency is imported only at its home', () => {
  const strays = sources
    .filter((source) => !source.isTest)
    .flatMap((source) =>
      source.imports
        .filter((name) => HOMES[name]?.every((home) => !source.path.startsWith(home)))
        .map((name) => `${source.path} imports ${name}`),
    );
  assert.deepEqual(strays, []);
});

const GLOBALS: readonly { pattern: RegExp; home: readonly string[]; instead: string }[] = [
  { pattern: /\bprocess\.env\b/, home: ['base/config.ts'], instead: 'base/config.ts' },
  { pattern: /\bDate\.now\(|\bperformance\.now\(/, home: ['base/clock.ts'], instead: 'Clock' },
  {
    pattern: /(?<![.\w])set(?:Timeout|Interval)\(/,
    home: ['base/clock.ts'],
    instead: 'Clock.after or Clock.sleep',
  },
  { pattern: /\bMath\.random\(/, home: ['base/clock.ts'], instead: 'Random' },
  { pattern: /\brandom(?:Bytes|UUID)\(/, home: ['base/clock.ts'], instead: 'Random' },
  { pattern: /\bnew Date\(\)/, home: ['base/clock.ts'], instead: 'Clock.now' },
  { pattern: /(?<![.\w])console\./, home: ['cli/'], instead: 'Log' },
  { pattern: /\bnew URL\(/, home: ['cli/'], instead: 'address.ts: new URL() folds `..`' },
];

test('effects stay at the edges', () => {
  const strays = sources
    .filter((source) => !source.isTest)
    .flatMap((source) =>
      GLOBALS.filter(
        ({ pattern, home }) =>
          !home.some((place) => source.path.startsWith(place)) &&
          pattern.test(stripComments(source.text)),
      ).map(({ pattern, instead }) => `${source.path}: ${pattern.source}; use ${instead}`),
    );
  assert.deepEqual(strays, []);
});

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

test('the house style that no linter checks holds', () => {
  const strays = sources.flatMap((source) => {
    const code = stripComments(source.text);
    return [
      /^\s*(?:export\s+)?(?:const\s+)?enum\s/m,
      /^\s*(?:export\s+)?namespace\s/m,
      /:\s*any\b|\bas any\b/,
      /\b(?:TODO|FIXME|XXX)\b/,
      /^export default /m,
    ]
      .filter((pattern) => source.path !== 'test/tidy.test.ts' && pattern.test(code))
      .map((pattern) => `${source.path}: ${pattern.source}`);
  });
  assert.deepEqual(strays, []);
});

test('no import cycles inside a room', () => {
  const graph = new Map(
    sources
      .filter((source) => !source.isTest)
      .map((source) => [
        source.path,
        source.imports.filter((name) => name.startsWith('.')).map((name) => target(source, name)),
      ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: string[]): void => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      return;
    }
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  assert.deepEqual(cycles, []);
});

const kebab = (name: string): string =>
  name
    .replace(/V2$/, '-v2')
    .replace(/([a-z])([A-Z])/g, '$1-$2')
    .toLowerCase();

test('the registry is the set of operation files', () => {
  const files = readdirSync(join(root, 'gateway/s3/operations'))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => name.replace(/\.ts$/, ''))
    .filter((name) =>
      readFileSync(join(root, `gateway/s3/operations/${name}.ts`), 'utf8').match(
        /\bdefineOperation[<(]/,
      ),
    );
  assert.deepEqual(files.sort(), OPERATION_NAMES.map(kebab).sort());
});

test('every operation has a row in COVERAGE.md', () => {
  const coverage = readFileSync(join(root, 'test/COVERAGE.md'), 'utf8');
  const absent = OPERATION_NAMES.filter((name) => !coverage.includes(`| ${name} |`));
  assert.deepEqual(absent, []);
});

test('docs/reference/errors.md lists the error table, code by code', () => {
  const text = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `?([\w.]+)`? \| (\d{3}) \|/gm)].map((m) => `${m[1]} ${m[2]}`);
  const table = Object.entries(ERRORS).map(([code, { status }]) => `${code} ${status}`);
  assert.deepEqual(rows.sort(), table.sort());
});

test('docs/reference/s3-compatibility.md lists the operations as they are', () => {
  const text = readFileSync(join(root, 'docs/reference/s3-compatibility.md'), 'utf8');
  const listed = text.slice(
    text.indexOf(OPERATIONS_BEGIN) + OPERATIONS_BEGIN.length,
    text.indexOf(OPERATIONS_END),
  );
  assert.equal(
    listed.trim(),
    operationTable(),
    'out of date: run `node test/conformance/document.ts`',
  );
});
