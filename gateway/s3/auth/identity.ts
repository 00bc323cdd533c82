/** Who is asking, and how the pipeline finds out. */
import type { ByteSource } from '../request.ts';
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';

export interface Credential {
  accessKey: string;
  secretKey: string;
  /** The account behind the key. */
  account: Account;
}

export interface Account {
  /** Canonical user id: 64 lower-case hex digits. */
  id: string;
  /** 12 digits: the account in ARNs and policies. */
  number: string;
  displayName: string;
  /** Lower case. */
  email?: string | undefined;
  /** The operator's account: has the rights of the owner in every bucket. */
  root: boolean;
}

/** Who stands behind a request without credentials, and owns what it uploads (the id is AWS's). */
export const ANONYMOUS: Account = {
  id: '65a011a29cdf8ec533ec3d1ccaae921c',
  number: '',
  displayName: '',
  root: false,
};

/** Looks a key up. An unknown key is `undefined`, and costs the caller the same time. */
export interface CredentialSource {
  find(accessKey: string): Credential | undefined;
}

/** A request whose signature holds, or that carries none at all. */
export interface Authenticated {
  /** `undefined`: anonymous. */
  account: Account | undefined;
  accessKey: string | undefined;
  /**
   * The payload with its transfer decoding undone (aws-chunked, trailers) and every promise that
   * the signature makes about it checked: it throws an S3Error at the latest at its end when a
   * chunk signature, the payload hash or the decoded length is wrong.
   */
  body: ByteSource;
  /** Length of the decoded body in bytes; undefined when it is not known before the end. */
  decodedLength: number | undefined;
  /** Checksum announced in x-amz-trailer; its value is known once `body` has ended. */
  trailer: { algorithm: ChecksumAlgorithm; value(): string } | undefined;
}
