import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemRandom } from '../clock.ts';
import { clusterKey, Handshake, HELLO_BYTES, NONCE_BYTES, PROOF_BYTES } from './handshake.ts';
import { failureOf, SECRET } from './test-support.ts';

function side(role: 'client' | 'server', secret = SECRET): Handshake {
  return new Handshake(role, clusterKey(secret), systemRandom.bytes(NONCE_BYTES));
}

function bytesOf(value: Buffer | undefined): Buffer {
  assert.ok(value);
  return value;
}

const unauthenticated = failureOf('unauthenticated');

test('two sides with one secret agree, however their bytes are cut', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), (one, two) => {
      const client = side('client');
      const server = side('server');
      const feed = (to: Handshake, bytes: Buffer, step: number) => {
        let last = to.receive(bytes.subarray(0, step));
        for (let at = step; at < bytes.length; at += step) {
          last = to.receive(bytes.subarray(at, at + step));
        }
        return last;
      };
      assert.equal(feed(server, client.hello, one).done, false);
      const proof = bytesOf(feed(client, server.hello, two).send);
      const answer = feed(server, proof, one);
      assert.equal(answer.done, true);
      assert.equal(feed(client, bytesOf(answer.send), two).done, true);
    }),
  );
});

test('a client with another secret is refused and gets no proof', () => {
  const client = side('client', 'some other secret of ours');
  const server = side('server');
  server.receive(client.hello);
  const proof = bytesOf(client.receive(server.hello).send);
  assert.throws(() => server.receive(proof), unauthenticated);
  assert.equal(server.proved, false);
});

test('a server with another secret is refused', () => {
  const client = side('client');
  const server = side('server', 'some other secret of ours');
  client.receive(server.hello);
  assert.throws(() => client.receive(systemRandom.bytes(PROOF_BYTES)), unauthenticated);
});

test("echoing a side's own bytes back proves nothing", () => {
  // The hello of one's own role is refused at once.
  const client = side('client');
  assert.throws(() => client.receive(client.hello), unauthenticated);
  const server = side('server');
  assert.throws(() => server.receive(server.hello), unauthenticated);
  // A client's proof sent back as the server's: same nonces, other label.
  const victim = side('client');
  const fake = side('server', 'an attacker without secret');
  const proof = bytesOf(victim.receive(fake.hello).send);
  assert.throws(() => victim.receive(proof), unauthenticated);
});

test('a recorded exchange is worthless against a fresh nonce', () => {
  const client = side('client');
  const first = side('server');
  const proof = bytesOf(client.receive(first.hello).send);
  const second = side('server');
  second.receive(client.hello);
  assert.throws(() => second.receive(proof), unauthenticated);
});

test('a proof is bound to both nonces', () => {
  // One fixed nonce on either side is not enough to reuse a proof.
  const nonce = systemRandom.bytes(NONCE_BYTES);
  const server = side('server');
  const one = new Handshake('client', clusterKey(SECRET), nonce);
  const proof = bytesOf(one.receive(server.hello).send);
  const other = side('client');
  server.receive(other.hello);
  assert.throws(() => server.receive(proof), unauthenticated);
});

test('garbage, another version and surplus bytes are refused', () => {
  const hello = side('client').hello;
  assert.equal(hello.length, HELLO_BYTES);
  for (const at of [0, 3, 4, 5]) {
    const changed = Buffer.from(hello);
    changed[at] = (changed[at] ?? 0) ^ 0x40;
    assert.throws(() => side('server').receive(changed), unauthenticated, `byte ${at}`);
  }
  assert.throws(() => side('server').receive(Buffer.alloc(HELLO_BYTES)), unauthenticated);
  assert.throws(() => side('server').receive(Buffer.alloc(500)), unauthenticated);
  // One byte after a right proof: no peer of ours sends frames before it has ours.
  const client = side('client');
  const server = side('server');
  server.receive(client.hello);
  const proof = bytesOf(client.receive(server.hello).send);
  assert.throws(() => server.receive(Buffer.concat([proof, Buffer.from([1])])), unauthenticated);
});

test('a secret shorter than 16 bytes is refused', () => {
  assert.throws(() => clusterKey('fifteen bytes..'), failureOf('invalid'));
  assert.equal(clusterKey('sixteen bytes...').length, 16);
});
