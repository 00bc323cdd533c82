/**
 * The wrapped data keys of encrypted versions and open uploads, for whoever wraps them anew under
 * another master key (`ashlar encryption rotate`). Nothing here knows a key.
 */
import { Failure } from '../../base/failure.ts';
import {
  DATA_KEY_ROWS_MAX,
  type DataKeyChange,
  type DataKeyWalk,
  type MetaAdmin,
} from '../admin-protocol.ts';
import { type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import type { Answer, ObjectExtras } from '../protocol.ts';
import type { Codec } from './codec.ts';
import type { Draft } from './draft.ts';
import { type Bounds, encryptableKind, encryptableRows, justAfter } from './keyspace.ts';
import { objectCodec, uploadCodec } from './records.ts';
import { PENDING, type Runner } from './runner.ts';

/**
 * Uploads first: an upload that is completed during a walk becomes an object, and is met there or has
 * been met. Versions that change their place may be missed, so whoever must have all walks again.
 */
const KINDS = ['upload', 'object', 'version'] as const;
type Kind = (typeof KINDS)[number];

type Row = Pick<ObjectExtras, 'encryption'>;

/** The codec of a kind, as far as it matters here: what is read is written again whole. */
function codecOf(kind: Kind): Codec<Row> {
  return (kind === 'upload' ? uploadCodec : objectCodec) as unknown as Codec<Row>;
}

export function createDataKeys({
  store,
  runner,
}: {
  store: Pick<KeyValueStore, 'range'>;
  runner: Pick<Runner, 'run'>;
}): Pick<MetaAdmin, 'walkDataKeys' | 'rewrapDataKeys'> {
  return {
    async walkDataKeys({ after, active, limit: asked }) {
      const limit = Math.max(1, Math.min(asked, DATA_KEY_ROWS_MAX, KV_LIMITS.rangeRows));
      const at = after === undefined ? KINDS[0] : encryptableKind(after);
      if (at === undefined) throw new Failure('invalid', 'no place of an encrypted row');
      const bounds: Bounds = encryptableRows(at);
      const start = after === undefined || after.length === 1 ? bounds.start : justAfter(after);
      const rows = await store.range({ start, end: bounds.end, limit });
      const counts = new Map<string, DataKeyWalk['counts'][number]>();
      const outdated: DataKeyWalk['outdated'] = [];
      for (const { key, value } of rows) {
        const { encryption } = codecOf(at).decode(value);
        if (encryption === undefined) continue;
        const { algorithm, keyId } = encryption;
        const name = `${algorithm} ${keyId ?? ''}`;
        const known = counts.get(name) ?? { algorithm, keyId, count: 0 };
        counts.set(name, { ...known, count: known.count + 1 });
        if (algorithm === 'AES256' && keyId !== active) outdated.push({ place: key, encryption });
      }
      const last = rows.length < limit ? undefined : rows.at(-1)?.key;
      const following = KINDS[KINDS.indexOf(at) + 1];
      const next = last ?? (following && encryptableRows(following).start);
      return { rows: rows.length, counts: [...counts.values()], outdated, next };
    },

    async rewrapDataKeys({ changes }) {
      const keys = changes.map(({ place }) => place);
      const answer = await runner.run(keys, (draft) => rewrapStep(draft, changes));
      if (!answer.ok) throw new Failure('conflict', 'the rows kept changing: try again');
      return answer.value;
    },
  };
}

/** Changes those that are still as they were seen. */
function rewrapStep(draft: Draft, changes: readonly DataKeyChange[]): Answer<{ changed: number }> {
  let changed = 0;
  let read = true;
  for (const { place, from, encryption } of changes) {
    const kind = encryptableKind(place);
    if (kind === undefined) throw new Failure('invalid', 'no place of an encrypted row');
    const row = draft.row(place, codecOf(kind));
    if (row === undefined) read = false;
    else if (row.value?.encryption?.wrappedKey.equals(from) === true) {
      draft.put(row, { ...row.value, encryption });
      changed += 1;
    }
  }
  return read ? { ok: true, value: { changed } } : PENDING;
}
