import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemEffects } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import { createRpcServer } from '../base/rpc/server.ts';
import { createMetaAdminClient, META_RPC_LIMITS } from './admin-client.ts';
import type { MetaAdmin } from './admin-protocol.ts';
import { withAdmin } from './admin-server.ts';
import { ADMIN_COMMANDS, ADMIN_METHODS } from './admin-wire.ts';
import { SECRET } from './test-support.ts';
import { METHODS } from './wire.ts';

const link = {
  effects: systemEffects,
  log: silentLog,
  secret: SECRET,
  limits: META_RPC_LIMITS,
};

/** Every method answers with its name and what it was given. */
async function serve(): Promise<{
  admin: MetaAdmin;
  call: (method: number, meta: unknown) => Promise<unknown>;
  close(): Promise<void>;
}> {
  const echo = Object.fromEntries(
    Object.keys(ADMIN_METHODS.numbers).map((name) => [
      name,
      (...given: unknown[]) => Promise.resolve({ name, given }),
    ]),
  ) as unknown as MetaAdmin;
  const others = ({ method }: { method: number }) =>
    Promise.reject(new Failure('not-found', `other ${method}`));
  const server = createRpcServer({ ...link, handler: withAdmin(echo, others) });
  const channel = createRpcChannel({ ...link, address: await server.listen('127.0.0.1:0') });
  return {
    admin: createMetaAdminClient(channel),
    call: async (method, meta) => (await channel.call(method, { meta })).meta,
    async close() {
      await channel.close();
      await server.close({ graceMs: 0 });
    },
  };
}

test('the numbers of operators and of gateways never meet', () => {
  const numbers = [...Object.values(METHODS.numbers), ...Object.values(ADMIN_METHODS.numbers)];
  assert.equal(new Set(numbers).size, numbers.length);
  assert.ok(Math.max(...Object.values(METHODS.numbers)) < 1000);
});

test('every method travels with its command, or without when it has none', async () => {
  const { admin, close } = await serve();
  const query = { bucket: 'b', key: 'k', from: 0, limit: 1, verify: true };
  assert.deepEqual(await admin.locateObject(query), { name: 'locateObject', given: [query] });
  assert.deepEqual(await admin.adminStatus({ timeoutMs: 1000 }), {
    name: 'adminStatus',
    given: [],
  });
  const changes = [
    { kind: 'add' as const, node: 'node-4' },
    { kind: 'weight' as const, node: 'node-1', weight: 5 },
  ];
  assert.deepEqual(await admin.stageLayout({ changes }), {
    name: 'stageLayout',
    given: [{ changes }],
  });
  await close();
});

test('what is no command never reaches the service; other numbers go on to the others', async () => {
  const { call, close } = await serve();
  const { numbers } = ADMIN_METHODS;
  const refused: [number, unknown][] = [
    [numbers.stageLayout, { changes: [{ kind: 'explode', node: 'node-1' }] }],
    [numbers.stageLayout, { changes: [{ kind: 'zone', node: 'node-1' }] }],
    [numbers.stageLayout, { changes: [{ kind: 'drain', node: '../etc' }] }],
    [numbers.applyLayout, { epoch: -1 }],
    [numbers.applyLayout, undefined],
    [numbers.controlJob, { name: 'mining', action: 'run' }],
    [numbers.controlJob, { name: 'repair', action: 'run', rate: Number.NaN }],
    [numbers.locateObject, { bucket: 'b', key: 'k' }],
    [numbers.startFsck, {}],
  ];
  for (const [method, command] of refused) {
    await assert.rejects(call(method, command), { kind: 'invalid' }, JSON.stringify(command));
  }
  await assert.rejects(call(1, {}), { kind: 'not-found', message: /other 1/ });
  await close();
});

test('there is a shape for every method', () => {
  assert.deepEqual(
    new Set(Object.keys(ADMIN_COMMANDS)),
    new Set(Object.keys(ADMIN_METHODS.numbers)),
  );
});
