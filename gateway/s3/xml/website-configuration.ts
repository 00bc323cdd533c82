/** The website of a bucket: body of PutBucketWebsite, answer of GetBucketWebsite. */
import { S3Error } from '../errors.ts';
import { invalidArgument } from '../parameters.ts';
import type { Protocol, Redirect, RoutingRule, WebsiteConfig } from '../website/config.ts';
import {
  allowOnly,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

/** As S3 limits it. */
const RULES_MAX = 50;
/** Keys and their prefixes (S3, "Object key naming"). */
const KEY_BYTES_MAX = 1024;

export function websiteConfiguration(config: WebsiteConfig): string {
  if ('redirectAll' in config) {
    const { host, protocol } = config.redirectAll;
    return document(
      'WebsiteConfiguration',
      element('RedirectAllRequestsTo', text('HostName', host), text('Protocol', protocol)),
    );
  }
  const { index, error, rules } = config;
  return document(
    'WebsiteConfiguration',
    element('IndexDocument', text('Suffix', index)),
    error === undefined ? '' : element('ErrorDocument', text('Key', error)),
    rules.length === 0 ? '' : element('RoutingRules', ...rules.map(routingRule)),
  );
}

function routingRule({ prefix, errorCode, redirect }: RoutingRule): string {
  const { host, protocol, status, replaceKey, replacePrefix } = redirect;
  const condition =
    prefix === undefined && errorCode === undefined
      ? ''
      : element(
          'Condition',
          text('HttpErrorCodeReturnedEquals', errorCode),
          text('KeyPrefixEquals', prefix),
        );
  return element(
    'RoutingRule',
    condition,
    element(
      'Redirect',
      text('HostName', host),
      text('HttpRedirectCode', status),
      text('Protocol', protocol),
      text('ReplaceKeyPrefixWith', replacePrefix),
      text('ReplaceKeyWith', replaceKey),
    ),
  );
}

/** Throws MalformedXML, InvalidArgument and InvalidRequest. */
export function readWebsiteConfiguration(xml: string): WebsiteConfig {
  const root = readXml(xml, { root: 'WebsiteConfiguration', arrays: ['RoutingRule'] });
  allowOnly(root, ['ErrorDocument', 'IndexDocument', 'RedirectAllRequestsTo', 'RoutingRules']);
  const [all] = childrenNamed(root, 'RedirectAllRequestsTo');
  if (all !== undefined) {
    if (root.children.length > 1) {
      throw invalid('RedirectAllRequestsTo cannot be provided in conjunction with other elements.');
    }
    allowOnly(all, ['HostName', 'Protocol']);
    return { redirectAll: { host: hostName(requiredText(all, 'HostName')), ...protocolOf(all) } };
  }
  const error = documentKey(root, 'ErrorDocument', 'Key');
  return {
    index: indexSuffix(documentKey(root, 'IndexDocument', 'Suffix')),
    ...(error === undefined ? {} : { error: keyText('ErrorDocument', error) }),
    rules: readRules(root),
  };
}

function documentKey(root: XmlNode, name: string, child: string): string | undefined {
  const [node] = childrenNamed(root, name);
  if (node === undefined) return undefined;
  allowOnly(node, [child]);
  return requiredText(node, child);
}

function indexSuffix(suffix: string | undefined): string {
  if (suffix === undefined) {
    throw invalidArgument(
      'IndexDocument',
      '',
      'A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty',
    );
  }
  if (suffix.includes('/')) {
    throw invalidArgument('IndexDocument', suffix, 'The IndexDocument Suffix is not well formed');
  }
  return keyText('IndexDocument', suffix);
}

function keyText(name: string, key: string): string {
  if (key !== '' && Buffer.byteLength(key) <= KEY_BYTES_MAX && !key.includes('\0')) return key;
  throw invalidArgument(name, key.slice(0, 100), `The ${name} is not well formed`);
}

function readRules(root: XmlNode): RoutingRule[] {
  const [list] = childrenNamed(root, 'RoutingRules');
  if (list === undefined) return [];
  allowOnly(list, ['RoutingRule']);
  const rules = childrenNamed(list, 'RoutingRule');
  if (rules.length === 0) throw malformedXml('RoutingRules needs RoutingRule');
  if (rules.length > RULES_MAX) {
    throw invalid(
      `${rules.length} routing rules provided, the number of routing rules in a website configuration is limited to ${RULES_MAX}.`,
    );
  }
  return rules.map(readRule);
}

function readRule(rule: XmlNode): RoutingRule {
  allowOnly(rule, ['Condition', 'Redirect']);
  const [redirect] = childrenNamed(rule, 'Redirect');
  if (redirect === undefined) throw malformedXml('RoutingRule needs Redirect');
  const [condition] = childrenNamed(rule, 'Condition');
  return {
    ...(condition === undefined ? {} : readCondition(condition)),
    redirect: readRedirect(redirect),
  };
}

function readCondition(condition: XmlNode): Pick<RoutingRule, 'prefix' | 'errorCode'> {
  allowOnly(condition, ['HttpErrorCodeReturnedEquals', 'KeyPrefixEquals']);
  const prefix = childText(condition, 'KeyPrefixEquals');
  const code = childText(condition, 'HttpErrorCodeReturnedEquals')?.trim();
  if (prefix === undefined && code === undefined) {
    throw invalid(
      "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
    );
  }
  if (code !== undefined && !/^[45]\d\d$/.test(code)) {
    throw invalid(
      `The provided HTTP error code (${code.slice(0, 20)}) is not valid. Valid codes are 4XX or 5XX.`,
    );
  }
  return {
    ...(prefix === undefined ? {} : { prefix: prefixText('KeyPrefixEquals', prefix) }),
    ...(code === undefined ? {} : { errorCode: Number(code) }),
  };
}

function prefixText(name: string, prefix: string): string {
  return prefix === '' ? '' : keyText(name, prefix);
}

function readRedirect(redirect: XmlNode): Redirect {
  allowOnly(redirect, [
    'HostName',
    'HttpRedirectCode',
    'Protocol',
    'ReplaceKeyPrefixWith',
    'ReplaceKeyWith',
  ]);
  if (redirect.children.length === 0) throw malformedXml('Redirect needs an element');
  const host = childText(redirect, 'HostName');
  const status = childText(redirect, 'HttpRedirectCode')?.trim();
  const replaceKey = childText(redirect, 'ReplaceKeyWith');
  const replacePrefix = childText(redirect, 'ReplaceKeyPrefixWith');
  if (status !== undefined && (!/^3\d\d$/.test(status) || status === '300')) {
    throw invalid(
      `The provided HTTP redirect code (${status.slice(0, 20)}) is not valid. Valid codes are 3XX except 300.`,
    );
  }
  if (replaceKey !== undefined && replacePrefix !== undefined) {
    throw invalid('You can only define ReplaceKeyPrefix or ReplaceKey but not both.');
  }
  return {
    ...(host === undefined ? {} : { host: hostName(host) }),
    ...protocolOf(redirect),
    ...(status === undefined ? {} : { status: Number(status) }),
    ...(replaceKey === undefined ? {} : { replaceKey: prefixText('ReplaceKeyWith', replaceKey) }),
    ...(replacePrefix === undefined
      ? {}
      : { replacePrefix: prefixText('ReplaceKeyPrefixWith', replacePrefix) }),
  };
}

function protocolOf(node: XmlNode): { protocol?: Protocol } {
  const protocol = childText(node, 'Protocol')?.trim().toLowerCase();
  if (protocol === undefined) return {};
  if (protocol === 'http' || protocol === 'https') return { protocol };
  throw invalid(
    'Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.',
  );
}

/** It goes into a header as it is: printable ASCII, nothing that could end a header or a host. */
function hostName(host: string): string {
  const trimmed = host.trim();
  if (/^[!-~]{1,1024}$/.test(trimmed)) return trimmed;
  throw invalidArgument('HostName', trimmed.slice(0, 100), 'The HostName is not well formed');
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}
