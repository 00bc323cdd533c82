/**
 * Mutual challenge and response with the cluster's secret. Nothing else of a connection is looked
 * at before both sides have proved that they know it.
 *
 * ```
 * client                                server
 *   hello: magic, version, role, nonce →  ← hello: magic, version, role, nonce
 *   proof                              →
 *                                      ← proof
 * ```
 * A proof is HMAC-SHA256 under the secret over the prover's label, the version and both nonces
 * (32 random bytes each, client's first). Each direction has its own label, so an echoed proof is
 * wrong, and fresh nonces make a recorded one worthless. The client proves first: a stranger who
 * only connects learns nothing that a guess at the secret could be tested against.
 *
 * What it protects: a stranger, another cluster's process and a replay get no frame parsed.
 * What it does not: frames after it are plain, with a checksum and no MAC. Whoever can change
 * packets between two peers can relay the handshake and alter what follows; such networks need TLS
 * underneath. A secret should be random: an attacker who poses as the server gets a proof to try
 * guesses on.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Failure } from '../failure.ts';

const SECRET_BYTES_MIN = 16;
export const NONCE_BYTES = 32;

const VERSION = 1;
const MAGIC = Buffer.from('ASHR', 'latin1');
/** magic, version, role, nonce */
export const HELLO_BYTES: number = MAGIC.length + 2 + NONCE_BYTES;
export const PROOF_BYTES = 32;

type HandshakeRole = 'client' | 'server';

const ROLE_BYTES: Record<HandshakeRole, number> = { client: 1, server: 2 };
const LABELS: Record<HandshakeRole, string> = {
  client: 'ashlar rpc: proof of the client',
  server: 'ashlar rpc: proof of the server',
};

/** The secret as a key. Throws Failure `invalid` when it is shorter than 16 bytes. */
export function clusterKey(secret: string): Buffer {
  const key = Buffer.from(secret, 'utf8');
  if (key.length < SECRET_BYTES_MIN) {
    throw new Failure('invalid', `the cluster secret needs at least ${SECRET_BYTES_MIN} bytes`);
  }
  return key;
}

interface HandshakeStep {
  /** To be sent to the peer now. */
  send?: Buffer | undefined;
  /** The peer has proved itself; what it sends from now on are frames. */
  done: boolean;
}

/** One side of one handshake: bytes in, bytes out; the caller owns the socket and the time limit. */
export class Handshake {
  /** To be sent as soon as the connection stands. */
  readonly hello: Buffer;
  /** True once our own proof was given: a peer that hangs up after it did not accept it. */
  proved = false;
  readonly #role: HandshakeRole;
  readonly #key: Buffer;
  readonly #nonce: Buffer;
  #peerNonce: Buffer | undefined;
  readonly #received: Buffer = Buffer.alloc(HELLO_BYTES + PROOF_BYTES);
  #receivedBytes = 0;

  /** `nonce`: 32 random bytes, never used before. */
  constructor(role: HandshakeRole, key: Buffer, nonce: Buffer) {
    this.#role = role;
    this.#key = key;
    this.#nonce = nonce;
    this.hello = Buffer.concat([MAGIC, Buffer.from([VERSION, ROLE_BYTES[role]]), nonce]);
  }

  /**
   * Takes the peer's next bytes, cut anywhere. Throws Failure `unauthenticated` when they are not
   * exactly what a peer with our secret sends at this point, one byte too many included.
   */
  receive(chunk: Buffer): HandshakeStep {
    if (this.#receivedBytes + chunk.length > this.#received.length) throw refused();
    chunk.copy(this.#received, this.#receivedBytes);
    this.#receivedBytes += chunk.length;
    let send: Buffer | undefined;
    if (this.#peerNonce === undefined) {
      if (this.#receivedBytes < HELLO_BYTES) return { done: false };
      this.#peerNonce = this.#readHello();
      if (this.#role === 'client') {
        send = this.#proofOf('client', this.#peerNonce);
        this.proved = true;
      }
    }
    if (this.#receivedBytes < this.#received.length) return { send, done: false };
    const peer = this.#role === 'client' ? 'server' : 'client';
    const proof = this.#received.subarray(HELLO_BYTES);
    if (!timingSafeEqual(proof, this.#proofOf(peer, this.#peerNonce))) throw refused();
    if (this.#role === 'server') {
      send = this.#proofOf('server', this.#peerNonce);
      this.proved = true;
    }
    return { send, done: true };
  }

  #readHello(): Buffer {
    const hello = this.#received.subarray(0, HELLO_BYTES);
    const peer = this.#role === 'client' ? 'server' : 'client';
    const fixed = MAGIC.length + 2;
    const expected = Buffer.concat([MAGIC, Buffer.from([VERSION, ROLE_BYTES[peer]])]);
    if (!hello.subarray(0, fixed).equals(expected)) throw refused();
    return hello.subarray(fixed);
  }

  #proofOf(prover: HandshakeRole, peerNonce: Buffer): Buffer {
    const [client, server] =
      this.#role === 'client' ? [this.#nonce, peerNonce] : [peerNonce, this.#nonce];
    return createHmac('sha256', this.#key)
      .update(LABELS[prover])
      .update(Buffer.from([0, VERSION]))
      .update(client)
      .update(server)
      .digest();
  }
}

function refused(): Failure {
  return new Failure('unauthenticated', 'the peer did not prove that it knows the cluster secret');
}
