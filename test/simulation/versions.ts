/**
 * What clients know of versions: those that were acknowledged stand with their content until somebody
 * deletes them by name. Only versions that are certainly not current are deleted, so that the history
 * of each key stays that of a register.
 */

export interface KnownVersion {
  key: string;
  versionId: string;
  /** The value that it holds. */
  id: string;
  call: number;
  /** When it was acknowledged. */
  at: number;
  /** `doomed`: a delete was sent. `gone`: it was acknowledged at that time. */
  fate: 'stands' | 'doomed' | { gone: number };
}

export class Versions {
  readonly #known: KnownVersion[] = [];

  /** A write was acknowledged; the null version is not kept in mind, for writes may replace it. */
  wrote(key: string, versionId: string | undefined, id: string, call: number, at: number): void {
    if (versionId === undefined || versionId === 'null') return;
    this.#known.push({ key, versionId, id, call, at, fate: 'stands' });
  }

  get standing(): KnownVersion[] {
    return this.#known.filter(({ fate }) => fate === 'stands');
  }

  get gone(): KnownVersion[] {
    return this.#known.filter(({ fate }) => typeof fate === 'object');
  }

  /** Versions below another one that stands and was begun after they were acknowledged. */
  get superseded(): KnownVersion[] {
    const { standing } = this;
    return standing.filter((one) =>
      standing.some((other) => other.key === one.key && other.call > one.at),
    );
  }
}
