import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readXml } from './reader.ts';
import { document, element, escapeXml, text, timestamp } from './writer.ts';

test('escapeXml leaves ordinary text alone', () => {
  const plain = 'photos/2026/ä €😀 ~!@#$%^*()_+-=[]{}|;:,./?`';
  assert.equal(escapeXml(plain), plain);
});

test('escapeXml writes markup characters as named references', () => {
  assert.equal(escapeXml(`a&b<c>d"e'f`), 'a&amp;b&lt;c&gt;d&quot;e&apos;f');
});

test('escapeXml writes control characters and non-characters as numeric references', () => {
  assert.equal(
    escapeXml('\r\n\t\u0001\u007f\ufffe\uffff'),
    '&#xD;&#xA;&#x9;&#x1;&#x7F;&#xFFFE;&#xFFFF;',
  );
});

test('text writes numbers and booleans, and nothing for undefined', () => {
  assert.equal(text('Size', 0), '<Size>0</Size>');
  assert.equal(text('IsTruncated', false), '<IsTruncated>false</IsTruncated>');
  assert.equal(text('Prefix', ''), '<Prefix></Prefix>');
  assert.equal(text('Marker', undefined), '');
});

test('document puts the declaration and the S3 namespace around its children', () => {
  assert.equal(
    document('Outer', element('Inner', text('A', '<'), text('B', 1)), element('Empty')),
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
      '<Outer xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
      '<Inner><A>&lt;</A><B>1</B></Inner><Empty></Empty></Outer>',
  );
});

test('timestamp writes UTC with milliseconds', () => {
  assert.equal(timestamp(1_763_627_400_007), '2025-11-20T08:30:00.007Z');
  const times = fc.oneof(
    fc.integer({ min: 1_763_627_000_000, max: 1_763_627_400_000 }),
    fc.date({ noInvalidDate: true }).map(Number),
  );
  fc.assert(
    fc.property(fc.array(times), (all) => {
      for (const ms of all) assert.equal(timestamp(ms), new Date(ms).toISOString());
    }),
  );
  assert.throws(() => timestamp(Number.NaN), RangeError);
});

test('What the writer escapes, the reader gives back unchanged', () => {
  // U+0000 cannot be in a key (the address parser refuses it); lone surrogates neither.
  const anyText = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0'));
  fc.assert(
    fc.property(anyText, (value) => {
      const node = readXml(document('Key', escapeXml(value)), { root: 'Key', arrays: [] });
      assert.equal(node.text, value);
    }),
  );
});
