#!/usr/bin/env node
// The command as npm installs it. Old syntax on purpose: an older Node must be able to say what is wrong.
'use strict';
var major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  process.stderr.write(
    'Ashlar needs Node 24 or newer; this is ' + process.version + '.\n' +
      'Without changing your Node: npx -p node@24 -p ashlar ashlar ' + process.argv.slice(2).join(' ') + '\n',
  );
  process.exit(78);
}
// The published package holds compiled JavaScript; a checkout runs its sources.
var fs = require('node:fs');
var path = require('node:path');
var compiled = path.join(__dirname, '..', 'dist', 'cli', 'main.js');
var source = path.join(__dirname, 'main.ts');
void import(fs.existsSync(source) ? source : compiled);
