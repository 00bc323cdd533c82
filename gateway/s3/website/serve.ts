/**
 * A visit to the website of a bucket: which object is the page, where the visitor is sent instead, and
 * which page tells him that there is none. Every object is read as an ordinary request without
 * credentials would read it, so the bucket's policy and ACLs decide.
 *
 * Source: Amazon S3 User Guide, "Hosting a static website using Amazon S3", "Website endpoints".
 */
import { ERRORS, S3Error } from '../errors.ts';
import { toS3Error } from '../failure-map.ts';
import { isSource, type HeaderMap, type RawReply } from '../request.ts';
import { urlEncode } from '../xml/elements.ts';
import type { WebsiteConfig } from './config.ts';
import { redirectionAfter, redirectionBefore, type Redirection, type Visit } from './redirects.ts';

export interface Site {
  config: WebsiteConfig;
  visit: Visit;
  method: 'GET' | 'HEAD';
  /** The visitor's. */
  headers: HeaderMap;
  /** GetObject or HeadObject by nobody; throws S3Error. */
  read(method: 'GET' | 'HEAD', key: string, headers: HeaderMap): Promise<RawReply>;
}

/** A visit that ends with a page of our own. */
export class SiteFailure extends Error {
  readonly error: S3Error;
  /** Why the bucket's own page could not be shown; undefined when it has none. */
  readonly second: S3Error | undefined;

  constructor(error: S3Error, second: S3Error | undefined) {
    super(error.message, { cause: error });
    this.error = error;
    this.second = second;
  }
}

/** What chooses of an object; everything else that a visitor sends is about the S3 API. */
const READ_HEADERS: readonly string[] = [
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
];
/** What policies may ask about. */
const VISITOR_HEADERS: readonly string[] = ['host', 'origin', 'referer', 'user-agent'];

function picked(headers: HeaderMap, names: readonly string[]): HeaderMap {
  return Object.fromEntries(names.map((name) => [name, headers[name]]));
}

/** The reply to a visit; throws SiteFailure when there is nothing to show. */
export async function serveSite(site: Site): Promise<RawReply> {
  const { config, visit } = site;
  const before = redirectionBefore(config, visit);
  if (before !== undefined) return redirected(before);
  // Where everything goes elsewhere nothing gets this far.
  if ('redirectAll' in config) throw new SiteFailure(new S3Error('InternalError'), undefined);
  try {
    return await servePage(site, config.index);
  } catch (thrown) {
    return await serveFailure(site, config.error, toS3Error(thrown));
  }
}

async function servePage(site: Site, index: string): Promise<RawReply> {
  const { visit, method, headers, read } = site;
  const isFolder = visit.key === '' || visit.key.endsWith('/');
  try {
    const key = isFolder ? visit.key + index : visit.key;
    const reply = await read(method, key, picked(headers, [...READ_HEADERS, ...VISITOR_HEADERS]));
    const elsewhere = reply.headers['x-amz-website-redirect-location'];
    if (elsewhere === undefined) return reply;
    await discard(reply);
    return redirected({ status: 301, location: String(elsewhere) });
  } catch (thrown) {
    if (isFolder || !isMissing(toS3Error(thrown))) throw thrown;
    if (!(await exists(site, `${visit.key}/${index}`))) throw thrown;
    return redirected({ status: 302, location: `/${urlEncode(visit.key)}/` });
  }
}

/** Who may not list a bucket is not told that a key is not there. */
const isMissing = ({ code }: S3Error): boolean => code === 'NoSuchKey' || code === 'AccessDenied';

async function exists({ read, headers }: Site, key: string): Promise<boolean> {
  try {
    await discard(await read('HEAD', key, picked(headers, VISITOR_HEADERS)));
    return true;
  } catch (thrown) {
    if (toS3Error(thrown).status < 500) return false;
    throw thrown;
  }
}

/** What concerns the request and not the page: no page of the bucket's stands for it. */
const NO_PAGE: ReadonlySet<number> = new Set([304, 412, 416]);

async function serveFailure(
  site: Site,
  errorKey: string | undefined,
  error: S3Error,
): Promise<RawReply> {
  const { config, visit, method, headers, read } = site;
  if (NO_PAGE.has(error.status)) throw new SiteFailure(error, undefined);
  const after = redirectionAfter(config, visit, error.status);
  if (after !== undefined) return redirected(after);
  if (errorKey === undefined || error.status >= 500) throw new SiteFailure(error, undefined);
  let page: RawReply;
  try {
    page = await read(method, errorKey, picked(headers, VISITOR_HEADERS));
  } catch (thrown) {
    throw new SiteFailure(error, toS3Error(thrown));
  }
  delete page.headers['x-amz-website-redirect-location'];
  return { ...page, status: error.status, headers: { ...page.headers, ...errorHeaders(error) } };
}

/** The error for programs: its page is for people. */
export function errorHeaders({ code }: S3Error): Record<string, string> {
  return { 'x-amz-error-code': code, 'x-amz-error-message': ERRORS[code].message };
}

function redirected({ status, location }: Redirection): RawReply {
  return { status, headers: { Location: location } };
}

/** The reply is not sent: what it holds is given back. */
async function discard({ body, finished }: RawReply): Promise<void> {
  if (isSource(body)) await body[Symbol.asyncIterator]().return?.();
  finished?.();
}
