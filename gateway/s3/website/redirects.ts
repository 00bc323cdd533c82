/**
 * Where a website sends its visitors. Pure.
 * Source: Amazon S3 User Guide, "(Optional) Configuring a webpage redirect".
 */
import { urlEncode } from '../xml/elements.ts';
import type { RoutingRule, WebsiteConfig } from './config.ts';

/** What a visitor asked for. */
export interface Visit {
  /** `Host`, with its port. */
  host: string;
  secure: boolean;
  key: string;
  /** As received, without `?`. */
  rawQuery: string;
}

export interface Redirection {
  status: number;
  location: string;
}

/** Before anything is looked up: everything, or what a rule without an error code matches. */
export function redirectionBefore(config: WebsiteConfig, visit: Visit): Redirection | undefined {
  if ('redirectAll' in config) {
    return { status: 301, location: address(visit, config.redirectAll, visit.key) };
  }
  return byRule(
    config.rules.find((rule) => rule.errorCode === undefined && matches(rule, visit)),
    visit,
  );
}

/** After the page could not be served: what a rule for this status matches. */
export function redirectionAfter(
  config: WebsiteConfig,
  visit: Visit,
  status: number,
): Redirection | undefined {
  if ('redirectAll' in config) return undefined;
  return byRule(
    config.rules.find((rule) => rule.errorCode === status && matches(rule, visit)),
    visit,
  );
}

function matches({ prefix }: RoutingRule, { key }: Visit): boolean {
  return prefix === undefined || key.startsWith(prefix);
}

function byRule(rule: RoutingRule | undefined, visit: Visit): Redirection | undefined {
  if (rule === undefined) return undefined;
  const { redirect, prefix = '' } = rule;
  const { replaceKey, replacePrefix } = redirect;
  const key =
    replaceKey ??
    (replacePrefix === undefined ? visit.key : replacePrefix + visit.key.slice(prefix.length));
  return { status: redirect.status ?? 301, location: address(visit, redirect, key) };
}

/** An absolute URL; the query goes along. */
function address(
  visit: Visit,
  { host, protocol }: { host?: string; protocol?: string },
  key: string,
): string {
  const scheme = protocol ?? (visit.secure ? 'https' : 'http');
  const query = visit.rawQuery === '' ? '' : `?${visit.rawQuery}`;
  return `${scheme}://${host ?? visit.host}/${urlEncode(key)}${query}`;
}
