import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Failure, type FailureKind } from '../base/failure.ts';
import { createManualEffects } from '../base/testing-clock.ts';
import type { NodeIdentity } from './folder.ts';
import { startMembership } from './membership.ts';
import type { NodeHeartbeat, NodeRegistration, Registrar } from './registrar.ts';
import { recordingLog } from './test-support.ts';

const HEARTBEAT_MS = 1000;
const stats = () => ({
  blocks: 5,
  fileBytes: 4096,
  capacityBytes: 1000,
  freeBytes: 400,
  full: false,
});

/** A metadata service of which the test says how it answers. */
class Desk implements Registrar {
  clusterId = 'cluster-1';
  trouble: FailureKind | undefined;
  readonly registrations: NodeRegistration[] = [];
  readonly beats: NodeHeartbeat[] = [];

  async registerNode(registration: NodeRegistration) {
    this.registrations.push(registration);
    if (this.trouble !== undefined) throw new Failure(this.trouble, 'trouble');
    return { clusterId: this.clusterId, heartbeatMs: HEARTBEAT_MS };
  }

  async heartbeat(beat: NodeHeartbeat) {
    this.beats.push(beat);
    if (this.trouble !== undefined) throw new Failure(this.trouble, 'trouble');
    return null;
  }
}

function start(context: TestContext, desk: Desk, clusterId?: string) {
  const identity: NodeIdentity = { id: 'node-1', clusterId, disk: 'd', generation: 1 };
  const effects = createManualEffects();
  const { log, messages } = recordingLog();
  const membership = startMembership({
    registrar: desk,
    identity,
    join: (id) => {
      identity.clusterId = id;
    },
    address: '127.0.0.1:9020',
    zone: 'rack-1',
    stats,
    effects,
    log,
  });
  context.after(() => membership.stop());
  return { membership, identity, clock: effects.clock, messages };
}

test('a storage node registers with what it is, and then says that it is alive', async (context) => {
  const desk = new Desk();
  const { membership, identity, clock } = start(context, desk);
  assert.equal(await membership.registered, 'cluster-1');
  assert.equal(identity.clusterId, 'cluster-1');
  const { instance, ...registration } = desk.registrations[0] ?? assert.fail();
  assert.match(instance, /^[0-9a-f]{16}$/);
  assert.deepEqual(registration, {
    id: 'node-1',
    address: '127.0.0.1:9020',
    zone: 'rack-1',
    capacityBytes: 1000,
    freeBytes: 400,
    clusterId: undefined,
    generation: 1,
    disk: 'd',
  });
  await clock.advance(3 * HEARTBEAT_MS);
  assert.equal(desk.beats.length, 3);
  const beat = { id: 'node-1', instance, freeBytes: 400, capacityBytes: 1000, full: false };
  assert.deepEqual(desk.beats[0], beat);
});

test('a storage node waits for the metadata service for ever, and says so now and then', async (context) => {
  const desk = new Desk();
  desk.trouble = 'unavailable';
  const { membership, clock, messages } = start(context, desk);
  await clock.advance(3_600_000);
  const said = messages.filter((message) => message.startsWith('waiting for the metadata service'));
  assert.ok(said.length > 100 && said.length <= 121, `${said.length} lines in an hour`);
  assert.ok(desk.registrations.length > 400, `${desk.registrations.length} attempts`);
  desk.trouble = undefined;
  assert.equal(await clock.settle(membership.registered, 10_000), 'cluster-1');
});

test('a storage node that is no longer known registers again, as the same instance', async (context) => {
  const desk = new Desk();
  const { membership, clock } = start(context, desk);
  await membership.registered;
  desk.trouble = 'not-found';
  await clock.advance(HEARTBEAT_MS);
  desk.trouble = undefined;
  await clock.advance(10_000);
  const instances = desk.registrations.map((registration) => registration.instance);
  assert.ok(instances.length >= 2);
  assert.equal(new Set(instances).size, 1);
  assert.equal(desk.registrations.at(-1)?.clusterId, 'cluster-1');
  assert.ok(desk.beats.length > 2);
});

test('a storage node goes on through failing heartbeats without registering again', async (context) => {
  const desk = new Desk();
  const { membership, clock } = start(context, desk);
  await membership.registered;
  desk.trouble = 'unavailable';
  await clock.advance(5 * HEARTBEAT_MS);
  assert.equal(desk.beats.length, 5);
  assert.equal(desk.registrations.length, 1);
});

test('a storage node of another cluster is told what to do instead of being taken in', async (context) => {
  const desk = new Desk();
  const other = start(context, desk, 'cluster-2');
  const failure = await other.membership.refused;
  assert.equal(failure.kind, 'unauthenticated');
  assert.match(failure.message, /belong to the cluster cluster-2.*Point the node to its own/);
  assert.equal(other.identity.clusterId, 'cluster-2');
  const refusing = new Desk();
  refusing.trouble = 'unauthenticated';
  const stranger = start(context, refusing);
  assert.match((await stranger.membership.refused).message, /its cluster secret differs/);
  await stranger.clock.advance(60_000);
  assert.equal(refusing.registrations.length, 1);
});
