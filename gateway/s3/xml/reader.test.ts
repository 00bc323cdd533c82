import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3Error } from '../errors.ts';
import {
  allowOnly,
  childNumber,
  childText,
  childrenNamed,
  readXml,
  requiredText,
  XML_DEPTH_MAX,
} from './reader.ts';

const SHAPE = { root: 'Delete', arrays: ['Object'] };

function isMalformed(error: unknown): boolean {
  return error instanceof S3Error && error.code === 'MalformedXML' && error.status === 400;
}

function keyOf(written: string): string {
  const root = readXml(`<Delete><Object><Key>${written}</Key></Object></Delete>`, SHAPE);
  return requiredText(childrenNamed(root, 'Object')[0] ?? root, 'Key');
}

const EXACT_KEYS: [written: string, key: string][] = [
  ['0001', '0001'],
  ['007', '007'],
  ['1e5', '1e5'],
  ['0x10', '0x10'],
  ['true', 'true'],
  ['-0', '-0'],
  ['', ''],
  [' a ', ' a '],
  ['   ', '   '],
  ['a&#x1;b', 'a\u0001b'],
  ['a\u0001b', 'a\u0001b'],
  ['a&#13;&#10;b', 'a\r\nb'],
  ['a&#xD;&#xA;b', 'a\r\nb'],
  ['a\r\nb\rc', 'a\nb\nc'],
  ['&lt;&gt;&amp;&quot;&apos;', `<>&"'`],
  ['&amp;lt;', '&lt;'],
  ['&amp;#65;', '&#65;'],
  ['😀&#x1F600;&#128512;', '😀😀😀'],
  ['<![CDATA[<&amp;>]]>', '<&amp;>'],
  ['a<![CDATA[b]]>c<!-- d -->e', 'abce'],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['a]]&gt;b', 'a]]>b'],
];

for (const [written, key] of EXACT_KEYS) {
  test(`The key written ${JSON.stringify(written)} is read as ${JSON.stringify(key)}`, () => {
    assert.equal(keyOf(written), key);
  });
}

const MALFORMED: [title: string, xml: string][] = [
  ['nothing', ''],
  ['white space', ' \n'],
  ['text', 'hello'],
  ['an unclosed element', '<Delete><Object>'],
  ['a mismatched end tag', '<Delete><Object></Delete></Object>'],
  ['two roots', '<Delete></Delete><Delete></Delete>'],
  ['two self-closing roots', '<Delete/><Delete/>'],
  ['text after the root', '<Delete></Delete>x'],
  ['text after a self-closing root', '<Delete/>x'],
  ['text before the root', 'x<Delete></Delete>'],
  ['another root', '<Remove></Remove>'],
  ['a repeated single element', '<Delete><Quiet>true</Quiet><Quiet>false</Quiet></Delete>'],
  ['text beside elements', '<Delete>x<Object></Object></Delete>'],
  ['DOCTYPE', '<!DOCTYPE Delete><Delete></Delete>'],
  ['a lower-case doctype', '<!doctype Delete><Delete></Delete>'],
  ['an internal entity', '<!DOCTYPE d [<!ENTITY x "y">]><Delete>&x;</Delete>'],
  ['an external entity', '<!DOCTYPE d SYSTEM "http://localhost/x"><Delete></Delete>'],
  ['DOCTYPE inside the root', '<Delete><!DOCTYPE x></Delete>'],
  ['an undefined entity', '<Delete>&nbsp;</Delete>'],
  ['a bare ampersand', '<Delete>a & b</Delete>'],
  ['a reference to NUL', '<Delete>&#0;</Delete>'],
  ['a NUL', '<Delete>\0</Delete>'],
  ['a reference to a surrogate', '<Delete>&#xD800;</Delete>'],
  ['a reference beyond Unicode', '<Delete>&#x110000;</Delete>'],
  ['an unclosed comment', '<Delete><!-- </Delete>'],
  ['unclosed CDATA', '<Delete><![CDATA[ </Delete>'],
  ['a processing instruction', '<Delete><?x y?></Delete>'],
  ['another encoding', '<?xml version="1.0" encoding="UTF-16"?><Delete></Delete>'],
  ['the declaration twice', '<?xml version="1.0"?><?xml version="1.0"?><Delete></Delete>'],
  ['an element named __proto__', '<Delete><__proto__>x</__proto__></Delete>'],
  ['an attribute twice', '<Delete a="1" a="2"></Delete>'],
  ['an attribute without quotes', '<Delete a=1></Delete>'],
  ['too deep nesting', '<Delete>' + '<Object>'.repeat(21) + '</Object>'.repeat(21) + '</Delete>'],
];

for (const [title, xml] of MALFORMED) {
  test(`MalformedXML answers ${title}`, () => {
    assert.throws(() => readXml(xml, SHAPE), isMalformed);
  });
}

const ACCEPTED: [title: string, xml: string][] = [
  ['a declaration', '<?xml version="1.0" encoding="UTF-8"?>\n<Delete><Object></Object></Delete>'],
  ['a byte order mark', '\ufeff<?xml version="1.0"?><Delete><Object/></Delete>'],
  [
    'the S3 namespace',
    '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object/></Delete>',
  ],
  ['a namespace prefix', '<s3:Delete xmlns:s3="x"><s3:Object></s3:Object></s3:Delete>'],
  ['indentation', '\n<Delete>\n  <Object>\n  </Object>\n</Delete>\n'],
  ['comments', '<!-- a --><Delete><!-- b --><Object/></Delete><!-- c -->'],
];

for (const [title, xml] of ACCEPTED) {
  test(`A document with ${title} is read`, () => {
    const root = readXml(xml, SHAPE);
    assert.deepEqual(
      root.children.map((child) => child.name),
      ['Object'],
    );
    assert.equal(root.text, '');
  });
}

test('Nesting is read up to its limit', () => {
  const levels = XML_DEPTH_MAX - 1;
  const xml = `<Delete>${'<Object>'.repeat(levels)}${'</Object>'.repeat(levels)}</Delete>`;
  assert.equal(readXml(xml, SHAPE).name, 'Delete');
});

test('An element named __proto__ changes no prototype', () => {
  assert.throws(() =>
    readXml('<Delete><__proto__><polluted>1</polluted></__proto__></Delete>', SHAPE),
  );
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
});

test('A reason quotes little of what the client sent', () => {
  assert.throws(
    () => readXml(`<${'x'.repeat(10_000)}>`, SHAPE),
    (error) => isMalformed(error) && error instanceof Error && error.message.length < 300,
  );
});

test('The decoders refuse unknown, missing and nested values', () => {
  const node = readXml('<P><N> 12 </N><T>a</T><Q><R/></Q></P>', { root: 'P', arrays: [] });
  assert.equal(childNumber(node, 'N'), 12);
  assert.equal(childNumber(node, 'X'), undefined);
  assert.equal(childText(node, 'T'), 'a');
  assert.throws(() => childNumber(node, 'T'), isMalformed);
  assert.throws(() => childText(node, 'Q'), isMalformed);
  assert.throws(() => requiredText(node, 'X'), isMalformed);
  assert.throws(() => allowOnly(node, ['N', 'T']), isMalformed);
  allowOnly(node, ['N', 'T', 'Q']);
});
