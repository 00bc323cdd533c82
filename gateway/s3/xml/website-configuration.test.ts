import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../operations/testing-context.ts';
import { decodeWebsite, encodeWebsite, type WebsiteConfig } from '../website/config.ts';
import { readWebsiteConfiguration, websiteConfiguration } from './website-configuration.ts';

const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
const of = (inner: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<WebsiteConfiguration ${NAMESPACE}>${inner}</WebsiteConfiguration>`;
const INDEX = '<IndexDocument><Suffix>index.html</Suffix></IndexDocument>';
const rule = (condition: string, redirect: string): string =>
  `<RoutingRule>${condition && `<Condition>${condition}</Condition>`}<Redirect>${redirect}</Redirect></RoutingRule>`;
const rules = (...all: string[]): string => `<RoutingRules>${all.join('')}</RoutingRules>`;

const FULL = of(
  INDEX +
    '<ErrorDocument><Key>errors/404.html</Key></ErrorDocument>' +
    rules(
      rule(
        '<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals><KeyPrefixEquals>a&amp;b/</KeyPrefixEquals>',
        '<HostName>example.com</HostName><HttpRedirectCode>302</HttpRedirectCode><Protocol>https</Protocol><ReplaceKeyPrefixWith></ReplaceKeyPrefixWith>',
      ),
      rule('<KeyPrefixEquals></KeyPrefixEquals>', '<ReplaceKeyWith>x</ReplaceKeyWith>'),
      rule('', '<Protocol>http</Protocol>'),
    ),
);

test('a website is read, kept, and written as it was', () => {
  const config = readWebsiteConfiguration(FULL);
  assert.deepEqual(config, {
    index: 'index.html',
    error: 'errors/404.html',
    rules: [
      {
        prefix: 'a&b/',
        errorCode: 404,
        redirect: { host: 'example.com', protocol: 'https', status: 302, replacePrefix: '' },
      },
      { prefix: '', redirect: { replaceKey: 'x' } },
      { redirect: { protocol: 'http' } },
    ],
  });
  assert.equal(websiteConfiguration(decodeWebsite(encodeWebsite(config))), FULL);
  const all = of(
    '<RedirectAllRequestsTo><HostName>www.example.com</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>',
  );
  const elsewhere: WebsiteConfig = { redirectAll: { host: 'www.example.com', protocol: 'https' } };
  assert.deepEqual(readWebsiteConfiguration(all), elsewhere);
  assert.equal(websiteConfiguration(elsewhere), all);
  assert.equal(
    websiteConfiguration({ index: 'i', rules: [] }),
    of('<IndexDocument><Suffix>i</Suffix></IndexDocument>'),
  );
});

test('a website that S3 would not take is refused', () => {
  const condition = (inner: string): string =>
    of(INDEX + rules(rule(inner, '<HostName>h</HostName>')));
  const redirect = (inner: string): string => of(INDEX + rules(rule('', inner)));
  const table: [string, 'MalformedXML' | 'InvalidArgument' | 'InvalidRequest'][] = [
    ['', 'MalformedXML'],
    ['<Website/>', 'MalformedXML'],
    [of('<Unknown/>'), 'MalformedXML'],
    [of(''), 'InvalidArgument'],
    [of('<ErrorDocument><Key>e</Key></ErrorDocument>'), 'InvalidArgument'],
    [of('<IndexDocument></IndexDocument>'), 'MalformedXML'],
    [of('<IndexDocument><Suffix></Suffix></IndexDocument>'), 'InvalidArgument'],
    [of('<IndexDocument><Suffix>a/b</Suffix></IndexDocument>'), 'InvalidArgument'],
    [of(`<IndexDocument><Suffix>${'i'.repeat(1025)}</Suffix></IndexDocument>`), 'InvalidArgument'],
    [of(INDEX + INDEX), 'MalformedXML'],
    [of(`${INDEX}<ErrorDocument><Key></Key></ErrorDocument>`), 'InvalidArgument'],
    [of('<RedirectAllRequestsTo></RedirectAllRequestsTo>'), 'MalformedXML'],
    [
      of(`<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>${INDEX}`),
      'InvalidRequest',
    ],
    [
      of('<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>'),
      'InvalidArgument',
    ],
    [
      of('<RedirectAllRequestsTo><HostName>h&#13;&#10;x: y</HostName></RedirectAllRequestsTo>'),
      'InvalidArgument',
    ],
    [
      of(
        '<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>',
      ),
      'InvalidRequest',
    ],
    [of(`${INDEX}<RoutingRules></RoutingRules>`), 'MalformedXML'],
    [of(INDEX + rules('<RoutingRule></RoutingRule>')), 'MalformedXML'],
    [
      of(INDEX + rules(...Array.from({ length: 51 }, () => rule('', '<HostName>h</HostName>')))),
      'InvalidRequest',
    ],
    [condition('<Unknown/>'), 'MalformedXML'],
    [
      of(
        INDEX +
          rules(
            '<RoutingRule><Condition></Condition><Redirect><HostName>h</HostName></Redirect></RoutingRule>',
          ),
      ),
      'InvalidRequest',
    ],
    [condition('<HttpErrorCodeReturnedEquals>314</HttpErrorCodeReturnedEquals>'), 'InvalidRequest'],
    [condition('<HttpErrorCodeReturnedEquals>4x4</HttpErrorCodeReturnedEquals>'), 'InvalidRequest'],
    [redirect(''), 'MalformedXML'],
    [redirect('<Unknown/>'), 'MalformedXML'],
    [redirect('<HttpRedirectCode>300</HttpRedirectCode>'), 'InvalidRequest'],
    [redirect('<HttpRedirectCode>404</HttpRedirectCode>'), 'InvalidRequest'],
    [redirect('<Protocol>gopher</Protocol>'), 'InvalidRequest'],
    [
      redirect('<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>'),
      'InvalidRequest',
    ],
  ];
  for (const [xml, code] of table) {
    assert.throws(() => readWebsiteConfiguration(xml), isCode(code), xml);
  }
});
