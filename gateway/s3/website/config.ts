/** The website of a bucket, as it is kept. */

export type Protocol = 'http' | 'https';

/** Where a routing rule leads; what is not given stays as it was in the request. */
export interface Redirect {
  host?: string;
  protocol?: Protocol;
  /** 301 … 399; 301 when it is not given. */
  status?: number;
  /** Instead of the key, or of the prefix that the rule asks for. */
  replaceKey?: string;
  replacePrefix?: string;
}

export interface RoutingRule {
  /** Both must hold; without any the rule is for every request. */
  prefix?: string;
  errorCode?: number;
  redirect: Redirect;
}

/** Either everything goes elsewhere, or there are pages. */
export type WebsiteConfig =
  | { redirectAll: { host: string; protocol?: Protocol } }
  | {
      /** What is served for a key that is empty or ends in a slash; holds no slash. */
      index: string;
      /** Key of the page for errors. */
      error?: string;
      rules: RoutingRule[];
    };

/** The configuration of a bucket that holds its website. */
export const WEBSITE_CONFIG = 'website';

export const encodeWebsite = (config: WebsiteConfig): string => JSON.stringify(config);

export const decodeWebsite = (text: string): WebsiteConfig => JSON.parse(text) as WebsiteConfig;
