import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatBasicTime, parseBasicTime } from './times.ts';

test('every second from the year 1000 to 9999 is written and read back', () => {
  const min = Date.UTC(1000, 0, 1) / 1000;
  const max = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;
  fc.assert(
    fc.property(fc.integer({ min, max }), (second) => {
      assert.equal(parseBasicTime(formatBasicTime(second * 1000)), second * 1000);
    }),
  );
  assert.equal(parseBasicTime('20130524T000000Z'), Date.UTC(2013, 4, 24));
  assert.equal(formatBasicTime(Date.UTC(2013, 4, 24) + 999), '20130524T000000Z');
});

test('a time that does not exist is no time', () => {
  const texts = [
    '20130001T000000Z',
    '20131301T000000Z',
    '20130100T000000Z',
    '20130132T000000Z',
    '20130229T000000Z',
    '20130431T000000Z',
    '20130524T240000Z',
    '20130524T006000Z',
    '20130524T000060Z',
    '00000101T000000Z',
    '20130524T000000',
    '20130524 000000Z',
    ' 20130524T000000Z',
    '20130524T000000Z\n',
    '',
  ];
  for (const text of texts) assert.equal(parseBasicTime(text), undefined, JSON.stringify(text));
  assert.equal(parseBasicTime('20120229T235959Z'), Date.UTC(2012, 1, 29, 23, 59, 59));
});
