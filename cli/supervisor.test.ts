import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom, type Clock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import {
  createSupervisor,
  type ProcessEvents,
  type ProcessSpec,
  type ReadyMessage,
  RESTART_MS_MAX,
  StartFailure,
} from './supervisor.ts';

/** A clock whose timers fire when the test says so. */
function handClock(): {
  clock: Clock;
  pending: { delayMs: number; run: () => void }[];
  skip: (ms: number) => void;
} {
  const pending: { delayMs: number; run: () => void }[] = [];
  let time = 0;
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    after(delayMs, run) {
      const entry = { delayMs, run };
      pending.push(entry);
      return { cancel: () => void pending.splice(pending.indexOf(entry), 1) };
    },
    sleep: () => Promise.reject(new Error('the supervisor never sleeps')),
  };
  return { clock, pending, skip: (ms) => void (time += ms) };
}

function fakeProcess(name: string, role: ProcessSpec['role'] = 'node') {
  const lives: {
    events: ProcessEvents;
    previous: ReadyMessage | undefined;
    stopped: boolean;
    killed: boolean;
  }[] = [];
  const spec: ProcessSpec = {
    role,
    name,
    start(events, previous) {
      const life = { events, previous, stopped: false, killed: false };
      lives.push(life);
      return {
        pid: lives.length,
        stop: () => void (life.stopped = true),
        kill: () => void (life.killed = true),
      };
    },
  };
  return { spec, lives };
}

const crash = { code: null, signal: 'SIGKILL', lastWords: '' };

function setUp() {
  const hand = handClock();
  let changes = 0;
  const supervisor = createSupervisor({
    effects: { clock: hand.clock, random: systemRandom },
    log: silentLog,
    changed: () => void changes++,
  });
  return { ...hand, supervisor, changes: () => changes };
}

test('a process that finds its folder in use is tried again for a while, then run rejects', async () => {
  const { supervisor, pending, skip } = setUp();
  const meta = fakeProcess('meta', 'meta');
  const running = supervisor.run(meta.spec);
  const inUse = { code: 75, signal: null, lastWords: 'ashlar: /data/meta is in use\n' };
  meta.lives[0]?.events.exited(inUse);
  pending.shift()?.run();
  assert.equal(meta.lives.length, 2);
  skip(6000);
  meta.lives[1]?.events.exited(inUse);
  await assert.rejects(running, (error) => {
    assert.ok(error instanceof StartFailure);
    assert.deepEqual([error.exitCode, error.message], [75, '/data/meta is in use']);
    return true;
  });
  assert.equal(pending.length, 0);
});

test('a process that dies is started again with the addresses of its last life', async () => {
  const { supervisor, pending } = setUp();
  const node = fakeProcess('node-1');
  const running = supervisor.run(node.spec);
  node.lives[0]?.events.ready({ address: 'here' });
  assert.deepEqual(await running, { address: 'here' });
  node.lives[0]?.events.exited(crash);
  assert.deepEqual(supervisor.processes(), []);
  pending.shift()?.run();
  assert.deepEqual(node.lives[1]?.previous, { address: 'here' });
  assert.deepEqual(supervisor.processes(), [], 'not ready yet');
  node.lives[1]?.events.ready({ address: 'here' });
  assert.deepEqual(supervisor.processes(), [{ role: 'node', name: 'node-1', pid: 2 }]);
});

test('the pause grows with every crash up to its maximum, and is forgotten after a stable run', () => {
  const { supervisor, pending, skip } = setUp();
  const node = fakeProcess('node-1');
  void supervisor.run(node.spec);
  const pauses: number[] = [];
  for (let life = 0; life < 10; life++) {
    node.lives[life]?.events.exited(crash);
    pauses.push(pending[0]?.delayMs ?? 0);
    pending.shift()?.run();
  }
  assert.deepEqual(pauses.slice(0, 3), [100, 200, 400]);
  assert.equal(pauses.at(-1), RESTART_MS_MAX);
  node.lives[10]?.events.ready({});
  skip(4_000);
  node.lives[10]?.events.exited(crash);
  assert.equal(pending[0]?.delayMs, 100);
});

test('one process dying leaves the others alone', async () => {
  const { supervisor } = setUp();
  const [a, b] = [fakeProcess('node-1'), fakeProcess('node-2')];
  void supervisor.run(a.spec);
  void supervisor.run(b.spec);
  b.lives[0]?.events.ready({});
  a.lives[0]?.events.exited(crash);
  assert.equal(b.lives[0]?.stopped, false);
  assert.deepEqual(supervisor.processes(), [{ role: 'node', name: 'node-2', pid: 1 }]);
});

test('a bad configuration is not retried: the reason is handed on', async () => {
  const { supervisor, pending } = setUp();
  const node = fakeProcess('node-1');
  const running = supervisor.run(node.spec);
  node.lives[0]?.events.exited({ code: 78, signal: null, lastWords: 'bad key\n' });
  await assert.rejects(running, (error: unknown) => {
    assert.ok(error instanceof StartFailure);
    assert.equal(error.exitCode, 78);
    assert.equal(error.message, 'bad key');
    return true;
  });
  assert.equal(pending.length, 0);
});

test('a node that was removed from the cluster is not started again, whenever it learns of it', async () => {
  const gone = { code: 77, signal: null, lastWords: 'ashlar: node-1 was removed\n' };
  const { supervisor, pending } = setUp();
  const [early, late] = [fakeProcess('node-1'), fakeProcess('node-2')];
  const starting = supervisor.run({ ...early.spec, keepTrying: true });
  early.lives[0]?.events.exited(gone);
  await assert.rejects(starting, { message: 'node-1 was removed' });
  const running = supervisor.run({ ...late.spec, keepTrying: true });
  late.lives[0]?.events.ready({});
  await running;
  late.lives[0]?.events.exited(gone);
  assert.equal(pending.length, 0);
  assert.deepEqual(supervisor.processes(), []);
});

test('stop asks, waits, and kills what outlives the bound', async () => {
  const { supervisor, pending } = setUp();
  const [a, b] = [fakeProcess('node-1'), fakeProcess('meta', 'meta')];
  void supervisor.run(a.spec);
  void supervisor.run(b.spec);
  const stopped = supervisor.stop('node', 1000);
  assert.equal(a.lives[0]?.stopped, true);
  assert.equal(b.lives[0]?.stopped, false);
  pending[0]?.run();
  assert.equal(a.lives[0]?.killed, true);
  a.lives[0]?.events.exited(crash);
  await stopped;
  assert.equal(pending.length, 0);
});

test('a process that is to be kept trying rejects its run, and serves when what kept it is mended', async () => {
  const { supervisor, pending } = setUp();
  const node = fakeProcess('node-2');
  const running = supervisor.run({ ...node.spec, keepTrying: true });
  node.lives[0]?.events.exited({ code: 78, signal: null, lastWords: 'its disk is blank' });
  await assert.rejects(running, StartFailure);
  for (let life = 1; life < 4; life++) {
    assert.equal(pending[0]?.delayMs, RESTART_MS_MAX);
    pending.shift()?.run();
    node.lives[life]?.events.exited({ code: 78, signal: null, lastWords: 'still blank' });
  }
  pending.shift()?.run();
  node.lives[4]?.events.ready({ address: 'here' });
  assert.deepEqual(supervisor.processes(), [{ role: 'node', name: 'node-2', pid: 5 }]);
});
