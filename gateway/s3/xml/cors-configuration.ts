/** The CORS rules of a bucket: body of PutBucketCors, answer of GetBucketCors. */
import { type CorsMethod, type CorsRule, isCorsMethod } from '../cors.ts';
import { S3Error } from '../errors.ts';
import {
  allowOnly,
  childNumber,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

const RULES_MAX = 100;
const ID_CHARACTERS_MAX = 255;
const SECONDS_MAX = 2 ** 31 - 1;

export function corsConfiguration(rules: readonly CorsRule[]): string {
  return document('CORSConfiguration', ...rules.map((rule) => element('CORSRule', ruleXml(rule))));
}

function ruleXml(rule: CorsRule): string {
  return [
    ...rule.allowedHeaders.map((name) => text('AllowedHeader', name)),
    ...rule.allowedMethods.map((method) => text('AllowedMethod', method)),
    ...rule.allowedOrigins.map((origin) => text('AllowedOrigin', origin)),
    ...rule.exposeHeaders.map((name) => text('ExposeHeader', name)),
    text('ID', rule.id),
    text('MaxAgeSeconds', rule.maxAgeSeconds),
  ].join('');
}

/** Throws MalformedXML, and InvalidRequest for rules that cannot be. */
export function readCorsConfiguration(xml: string): CorsRule[] {
  const root = readXml(xml, {
    root: 'CORSConfiguration',
    arrays: ['CORSRule', 'AllowedHeader', 'AllowedMethod', 'AllowedOrigin', 'ExposeHeader'],
  });
  allowOnly(root, ['CORSRule']);
  const rules = childrenNamed(root, 'CORSRule');
  if (rules.length === 0) throw malformedXml('CORSConfiguration needs CORSRule');
  if (rules.length > RULES_MAX) {
    throw invalid(
      `The number of CORS rules should not exceed allowed limit of ${RULES_MAX} rules.`,
    );
  }
  return rules.map(readRule);
}

function readRule(node: XmlNode): CorsRule {
  allowOnly(node, [
    'AllowedHeader',
    'AllowedMethod',
    'AllowedOrigin',
    'ExposeHeader',
    'ID',
    'MaxAgeSeconds',
  ]);
  const allowedMethods = texts(node, 'AllowedMethod').map(checkedMethod);
  const allowedOrigins = texts(node, 'AllowedOrigin');
  if (allowedMethods.length === 0) throw malformedXml('CORSRule needs AllowedMethod');
  if (allowedOrigins.length === 0) throw malformedXml('CORSRule needs AllowedOrigin');
  const allowedHeaders = texts(node, 'AllowedHeader');
  for (const origin of allowedOrigins) checkWildcard('AllowedOrigin', origin);
  for (const name of allowedHeaders) checkWildcard('AllowedHeader', name);
  const exposeHeaders = texts(node, 'ExposeHeader');
  for (const name of exposeHeaders) checkExposed(name);
  const id = childText(node, 'ID');
  if (id !== undefined && id.length > ID_CHARACTERS_MAX) {
    throw invalid(`The ID of a CORS rule may have ${ID_CHARACTERS_MAX} characters.`);
  }
  const maxAgeSeconds = childNumber(node, 'MaxAgeSeconds');
  if (maxAgeSeconds !== undefined && maxAgeSeconds > SECONDS_MAX) {
    throw malformedXml('MaxAgeSeconds is too large');
  }
  return {
    ...(id === undefined ? {} : { id }),
    allowedHeaders,
    allowedMethods,
    allowedOrigins,
    exposeHeaders,
    ...(maxAgeSeconds === undefined ? {} : { maxAgeSeconds }),
  };
}

function texts(node: XmlNode, name: string): string[] {
  return childrenNamed(node, name).map((child) => {
    if (child.children.length > 0) throw malformedXml(`${name} must hold text only`);
    return child.text;
  });
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}

function checkedMethod(method: string): CorsMethod {
  if (isCorsMethod(method)) return method;
  throw invalid(
    `Found unsupported HTTP method in CORS config. Unsupported method is ${method.slice(0, 100)}`,
  );
}

// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

function checkWildcard(name: string, value: string): void {
  if (value.indexOf('*') !== value.lastIndexOf('*')) {
    throw invalid(`${name} "${value.slice(0, 100)}" can not have more than one wildcard.`);
  }
  if (CONTROL.test(value)) throw invalid(`${name} has a character that it cannot have.`);
}

/** A field name of RFC 9110: it is sent to browsers as it is. */
const FIELD_NAME = /^[!#$%&'+.^_`|~0-9A-Za-z-]+$/;

function checkExposed(name: string): void {
  if (FIELD_NAME.test(name)) return;
  const shown = name.replace(/[^ -~]/g, '?').slice(0, 100);
  if (name.includes('*')) {
    throw invalid(
      `ExposeHeader "${shown}" contains wildcard. We currently do not support wildcard for ExposeHeader.`,
    );
  }
  throw invalid(`ExposeHeader "${shown}" is not the name of a header.`);
}
