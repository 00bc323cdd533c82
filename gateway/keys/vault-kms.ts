/**
 * Vault's transit engine as key management service. Two calls: `datakey/plaintext` makes a key and
 * encrypts it, `decrypt` opens it again; neither makes a named key by mistake, as `encrypt` would.
 * The token needs `update` on `<mount>/datakey/plaintext/*` and `<mount>/decrypt/*`.
 *
 * Source: Vault API documentation, "Transit secrets engine".
 */
import type { Clock } from '../../base/clock.ts';
import { KEY_BYTES, keyOf } from '../../base/derive-key.ts';
import { KeyError, type KeyService } from './protocol.ts';

export interface VaultSettings {
  /** `https://vault.example.com:8200`. */
  address: string;
  /** Where the engine is mounted: `transit`. */
  mount: string;
  /** Vault Enterprise and HCP. */
  namespace?: string | undefined;
}

export interface VaultEnvironment {
  /** The token as it is now; agents write a new one into its file from time to time. */
  token: () => string;
  fetch: typeof fetch;
  clock: Clock;
}

const TIMEOUT_MS = 5000;
const TRIES = 2;
const ANSWER_BYTES_MAX = 64 * 1024;
/** What Vault takes as the name of a key; nothing else may become part of a path. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,255}$/;

export function createVaultKms(settings: VaultSettings, environment: VaultEnvironment): KeyService {
  const base = `${settings.address.replace(/\/+$/, '')}/v1/${settings.mount}`;
  const call = async (verb: string, keyId: string, body: object): Promise<VaultData> => {
    if (!NAME.test(keyId)) throw new KeyError('unknown-key', `Invalid keyId '${keyId}'`);
    const url = `${base}/${verb}/${keyId}`;
    for (let attempt = 1; ; attempt++) {
      const reply = await post(url, body, settings.namespace, environment);
      // Sealed, standby without a leader, too many requests: perhaps not for long.
      if (reply.status < 500 && reply.status !== 429 && reply.status !== 412) {
        return dataOf(reply, keyId);
      }
      if (attempt === TRIES) {
        throw new KeyError('unavailable', `the key management service answers ${reply.status}`);
      }
    }
  };
  return {
    async generate(keyId) {
      const { plaintext, ciphertext } = await call('datakey/plaintext', keyId, { bits: 256 });
      if (ciphertext === undefined) throw broken();
      return { key: keyFrom(plaintext), wrapped: Buffer.from(ciphertext) };
    },
    async unwrap(keyId, wrapped) {
      const { plaintext } = await call('decrypt', keyId, { ciphertext: wrapped.toString() });
      return keyFrom(plaintext);
    },
  };
}

interface VaultData {
  plaintext?: string | undefined;
  ciphertext?: string | undefined;
}

interface VaultReply {
  status: number;
  text: string;
}

async function post(
  url: string,
  body: object,
  namespace: string | undefined,
  { token, fetch: send, clock }: VaultEnvironment,
): Promise<VaultReply> {
  const abort = new AbortController();
  const timer = clock.after(TIMEOUT_MS, () => abort.abort());
  try {
    const reply = await send(url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'X-Vault-Token': token(),
        'X-Vault-Request': 'true',
        ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
      },
      body: JSON.stringify(body),
      signal: abort.signal,
      redirect: 'error',
    });
    const text = await reply.text();
    if (text.length > ANSWER_BYTES_MAX) throw broken();
    return { status: reply.status, text };
  } catch (error) {
    if (error instanceof KeyError) throw error;
    throw new KeyError('unavailable', 'the key management service does not answer', {
      cause: error,
    });
  } finally {
    timer.cancel();
  }
}

function dataOf({ status, text }: VaultReply, keyId: string): VaultData {
  let parsed: { data?: unknown; errors?: unknown };
  try {
    parsed = JSON.parse(text) as { data?: unknown; errors?: unknown };
  } catch (error) {
    throw broken(error);
  }
  const data = parsed.data;
  if (status === 200 && typeof data === 'object' && data !== null) return data;
  if (status === 403) {
    throw new KeyError('denied', `the key management service refuses the use of ${keyId}`);
  }
  const errors = Array.isArray(parsed.errors) ? parsed.errors.join('; ') : '';
  if (status === 404 || /not found/i.test(errors)) {
    throw new KeyError('unknown-key', `Invalid keyId '${keyId}'`);
  }
  if (status === 400) {
    throw new KeyError('damaged', `the key management service does not open a key of ${keyId}`);
  }
  throw broken();
}

function keyFrom(base64: string | undefined): ReturnType<typeof keyOf> {
  const bytes = Buffer.from(base64 ?? '', 'base64');
  if (bytes.length !== KEY_BYTES) throw broken();
  return keyOf(bytes);
}

function broken(cause?: unknown): KeyError {
  const message = 'the key management service answers something else than keys';
  return new KeyError('unavailable', message, { cause });
}
