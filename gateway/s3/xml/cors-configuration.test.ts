import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../operations/testing-context.ts';
import { corsConfiguration, readCorsConfiguration } from './cors-configuration.ts';

const RULE = '<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>';
const xml = (...rules: string[]): string =>
  `<CORSConfiguration>${rules.map((rule) => `<CORSRule>${rule}</CORSRule>`).join('')}</CORSConfiguration>`;

test('CORSConfiguration is written in the order of the API reference', () => {
  const rules = readCorsConfiguration(
    xml(
      '<ID>a&amp;b</ID><MaxAgeSeconds> 3000 </MaxAgeSeconds><AllowedOrigin>https://*.a.com</AllowedOrigin>' +
        '<AllowedOrigin></AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>' +
        '<AllowedHeader>X-Amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>',
      RULE,
    ),
  );
  assert.deepEqual(rules[1], {
    allowedHeaders: [],
    allowedMethods: ['GET'],
    allowedOrigins: ['*'],
    exposeHeaders: [],
  });
  assert.equal(
    corsConfiguration(rules),
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
      '<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><CORSRule>' +
      '<AllowedHeader>X-Amz-*</AllowedHeader><AllowedMethod>PUT</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>' +
      '<AllowedOrigin>https://*.a.com</AllowedOrigin><AllowedOrigin></AllowedOrigin>' +
      '<ExposeHeader>ETag</ExposeHeader><ID>a&amp;b</ID><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule>' +
      '<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>',
  );
  assert.deepEqual(readCorsConfiguration(corsConfiguration(rules)), rules);
});

test('up to 100 rules are taken', () => {
  const many = (count: number): string => xml(...Array.from({ length: count }, () => RULE));
  assert.equal(readCorsConfiguration(many(100)).length, 100);
  assert.throws(() => readCorsConfiguration(many(101)), isCode('InvalidRequest', /100 rules/));
});

test('a document that is not one is MalformedXML', () => {
  for (const document of [
    '',
    '<CORSRule/>',
    '<CORSConfiguration/>',
    xml(''),
    xml('<AllowedMethod>GET</AllowedMethod>'),
    xml('<AllowedOrigin>*</AllowedOrigin>'),
    xml(`${RULE}<Other/>`),
    xml(`${RULE}<ID>a</ID><ID>b</ID>`),
    xml(`${RULE}<MaxAgeSeconds>soon</MaxAgeSeconds>`),
    xml(`${RULE}<MaxAgeSeconds>-1</MaxAgeSeconds>`),
    xml(`${RULE}<MaxAgeSeconds>2147483648</MaxAgeSeconds>`),
    xml(`${RULE}<AllowedHeader><b>x</b></AllowedHeader>`),
    `<CORSConfiguration><CORSRule>${RULE}</CORSRule><Other/></CORSConfiguration>`,
  ]) {
    assert.throws(() => readCorsConfiguration(document), isCode('MalformedXML'), document);
  }
});

test('rules that cannot be are InvalidRequest and say why', () => {
  const table: [more: string, message: RegExp][] = [
    ['<AllowedMethod>PATCH</AllowedMethod>', /Unsupported method is PATCH/],
    ['<AllowedMethod>get</AllowedMethod>', /Unsupported method is get/],
    ['<AllowedMethod>*</AllowedMethod>', /Unsupported method is \*/],
    ['<AllowedOrigin>http://*.*.com</AllowedOrigin>', /AllowedOrigin .* more than one wildcard/],
    ['<AllowedHeader>**</AllowedHeader>', /AllowedHeader .* more than one wildcard/],
    ['<AllowedHeader>a&#xD;b</AllowedHeader>', /AllowedHeader/],
    ['<AllowedOrigin>a&#xA;b</AllowedOrigin>', /AllowedOrigin/],
    ['<ExposeHeader>*</ExposeHeader>', /wildcard for ExposeHeader/],
    ['<ExposeHeader>x-amz-meta-*</ExposeHeader>', /wildcard for ExposeHeader/],
    ['<ExposeHeader></ExposeHeader>', /not the name of a header/],
    ['<ExposeHeader>ETag, x</ExposeHeader>', /not the name of a header/],
    ['<ExposeHeader>a&#xD;&#xA;Set-Cookie: x=y</ExposeHeader>', /not the name of a header/],
    [`<ID>${'x'.repeat(256)}</ID>`, /255 characters/],
  ];
  for (const [more, message] of table) {
    assert.throws(
      () => readCorsConfiguration(xml(RULE + more)),
      isCode('InvalidRequest', message),
      more,
    );
  }
});
