import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { byteSize, ConfigError, describeConfig, duration, leavesOf, loadConfig } from './config.ts';

const schema = z.strictObject({
  data: z.string().default('here').describe('The folder.'),
  gateways: z.number().int().min(1).default(2).describe('How many gateways.'),
  s3: z.strictObject({
    publicUrl: z.string().optional().describe('The address that clients see.'),
    domains: z.array(z.string()).default([]).describe('Domains for virtual-host addressing.'),
  }),
  root: z.strictObject({
    secretKey: z.string().min(8).optional().meta({ description: 'The secret.', secret: true }),
  }),
  blockSize: byteSize().default(1024).describe('Size of a block.'),
  delay: duration().default(5).describe('How long to wait.'),
});

const load = (input: Partial<Parameters<typeof loadConfig>[1]>) =>
  loadConfig(schema, { flags: {}, env: {}, ...input });

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  assert.fail('no ConfigError was thrown');
}

test('a flag wins over a variable, a variable over the file, the file over the default', () => {
  const file = { name: 'a.yaml', text: 'data: file\ngateways: 3\ns3: {publicUrl: file}\n' };
  const loaded = load({
    flags: { data: 'flag' },
    env: { ASHLAR_DATA: 'env', ASHLAR_GATEWAYS: '4' },
    file,
  });
  assert.equal(loaded.value.data, 'flag');
  assert.equal(loaded.value.gateways, 4);
  assert.equal(loaded.value.s3.publicUrl, 'file');
  assert.equal(loaded.value.blockSize, 1024);
  assert.equal(loaded.sources.get('data'), 'flag --data');
  assert.equal(loaded.sources.get('gateways'), 'ASHLAR_GATEWAYS');
  assert.equal(loaded.sources.get('s3.publicUrl'), 'file a.yaml');
  assert.equal(loaded.sources.get('blockSize'), 'default');
});

test('variables carry lists, sizes and durations as text', () => {
  const { value } = load({
    env: {
      ASHLAR_S3_DOMAINS: 'a.example, b.example',
      ASHLAR_BLOCK_SIZE: '4MiB',
      ASHLAR_DELAY: '2s',
    },
  });
  assert.deepEqual(value.s3.domains, ['a.example', 'b.example']);
  assert.equal(value.blockSize, 4 * 1024 * 1024);
  assert.equal(value.delay, 2000);
});

test('an unknown key and an unknown variable are errors that name the nearest known one', () => {
  const problems = problemsOf(() =>
    load({ env: { ASHLAR_GATEWAY: '2' }, file: { name: 'a.yaml', text: 's3: {publicurl: x}' } }),
  );
  assert.ok(
    problems.some((p) => p.includes('Did you mean s3.publicUrl?')),
    problems.join('\n'),
  );
  assert.ok(
    problems.some((p) => p.includes('Did you mean ASHLAR_GATEWAYS?')),
    problems.join('\n'),
  );
});

test('a bad value names its source and what the setting is for', () => {
  const [problem] = problemsOf(() => load({ env: { ASHLAR_GATEWAYS: 'many' } }));
  assert.match(
    problem ?? '',
    /^ASHLAR_GATEWAYS: gateways is not valid: .*"many".*How many gateways\./,
  );
});

test('a secret may come from a file, is hidden when shown, and is never in a message', () => {
  const readFile = (path: string) => (path === 'here' ? 'very-secret\n' : '');
  const loaded = load({ env: { ASHLAR_ROOT_SECRET_KEY_FILE: 'here' }, readFile });
  assert.equal(loaded.value.root.secretKey, 'very-secret');
  assert.equal(
    describeConfig(loaded).find((line) => line.path === 'root.secretKey')?.value,
    '(hidden)',
  );
  const [problem] = problemsOf(() => load({ env: { ASHLAR_ROOT_SECRET_KEY: 'short' } }));
  assert.ok(!problem?.includes('"short"'), problem);
});

test('a secret given twice is refused', () => {
  const env = { ASHLAR_ROOT_SECRET_KEY: 'very-secret', ASHLAR_ROOT_SECRET_KEY_FILE: 'f' };
  const [problem] = problemsOf(() => load({ env, readFile: () => 'very-secret' }));
  assert.match(problem ?? '', /both set/);
});

test('every setting has a sentence, a variable and a flag', () => {
  const leaf = leavesOf(schema).find((one) => one.path === 's3.publicUrl');
  assert.equal(leaf?.variable, 'ASHLAR_S3_PUBLIC_URL');
  assert.equal(leaf?.flag, '--s3-public-url');
  assert.ok(leavesOf(schema).every((one) => one.description.endsWith('.')));
});
