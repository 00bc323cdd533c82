// What `npm start`, `npm test` and the other npm scripts run first: plain JavaScript that works on
// the machine's own Node (20 or newer). It installs what is missing, then hands over to the Node
// that the package `node` brings, so that everything else may rely on Node 24.
//
//   node cli/bootstrap.mjs FILE [ARGUMENT ...]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const RUNTIME = join(root, 'node_modules', 'node', 'bin', 'node');

/** True when every package of the lock file stands in node_modules at its version. */
function installed() {
  try {
    const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
    const wanted = read('package-lock.json');
    const found = read('node_modules/.package-lock.json');
    return Object.entries(wanted).every(
      ([path, entry]) => path === '' || entry.optional || found[path]?.version === entry.version,
    );
  } catch {
    return false;
  }
}

function install() {
  process.stderr.write('Ashlar: installing its packages (once; takes about a minute) ...\n');
  // Under npm, npm_execpath is the npm that runs us; without it, the one on the PATH.
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []];
  // Not `npm ci`: that refuses a lock file which lacks builds for other platforms, as one made behind
  // a registry mirror does. With a lock file present, `install` installs what it says.
  const flags = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(command, [...args, ...flags], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) {
    process.stderr.write(
      'Ashlar: npm install failed (see above). Check that the npm registry can be reached, then try again.\n',
    );
    process.exit(1);
  }
}

if (!installed()) install();
const useOwn = Number(process.versions.node.split('.')[0]) >= 24;
if (!useOwn && !existsSync(RUNTIME)) {
  process.stderr.write(
    `Ashlar needs Node 24 or newer; this is ${process.version} and the package "node" did not install one.\n` +
      'Run `npm rebuild node`, or install Node 24, then try again.\n',
  );
  process.exit(78);
}

const [file, ...args] = process.argv.slice(2);
const child = spawn(useOwn ? process.execPath : RUNTIME, [join(root, file), ...args], {
  cwd: process.cwd(),
  stdio: 'inherit',
  env: {
    // Compiled code is kept between starts: a process is up in less than half the time.
    NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'),
    ...process.env,
    // Children must find the same Node by name.
    PATH: `${dirname(useOwn ? process.execPath : RUNTIME)}:${process.env.PATH}`,
  },
});
// Ctrl+C reaches the whole foreground group; only a signal sent to us alone is passed on.
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
process.on('SIGINT', () => {
  if (!process.stdin.isTTY) child.kill('SIGINT');
});
child.on('error', (error) => {
  process.stderr.write(`Ashlar: cannot start ${file}: ${error.message}\n`);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  if (signal) process.exit(128 + ({ SIGINT: 2, SIGTERM: 15, SIGKILL: 9 }[signal] ?? 1));
  process.exit(code ?? 1);
});
