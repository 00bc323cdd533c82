/** The verbs for operators, as the command line names them. Each loads what it needs. */
import { type Command, Option } from 'commander';
import { duration, type Loaded } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { addSettings } from '../options.ts';
import type { Settings } from '../settings.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import type { Screen } from './screen.ts';

type Options = Readonly<Record<string, unknown>>;
type Load = (options: Options) => Loaded<Settings>;
type Work = (operator: Operator, screen: Screen, options: Options) => Promise<void>;

const TIMEOUT_MS = 10_000;
const YES = ['--yes', 'Do not ask.'] as const;

/** Adds what every verb takes. */
function verb(parent: Command, usage: string, description: string): Command {
  return addSettings(parent.command(usage).description(description), [
    'data',
    'meta.address',
    'cluster',
  ])
    .option('--json', 'Print JSON.')
    .addOption(
      new Option('--timeout <DURATION>', 'Longest time to wait for an answer.').default('10s'),
    );
}

function time(text: unknown, option: string): number {
  const parsed = duration().safeParse(text);
  if (parsed.success) return parsed.data;
  throw new VerbError(`${option}: expected a duration such as 500ms, 10s or 5m.`, EXIT.usage);
}

/** Connects, runs, and closes; `options` are the verb's own. */
async function run(load: Load, options: Options, work: Work): Promise<void> {
  const { operate } = await import('./connect.ts');
  const { createScreen } = await import('./screen.ts');
  const timeoutMs = time(options['timeout'] ?? TIMEOUT_MS, '--timeout');
  const screen = createScreen(options['json'] === true);
  await operate(load(options), timeoutMs, (operator) => work(operator, screen, options));
}

export function addOperatorCommands(program: Command, load: Load): void {
  addStatus(program, load);
  const named = (name: string): Command =>
    program.commands.find((one) => one.name() === name) ?? program.command(name);
  addNodes(named('node'), load);
  addSnapshot(named('meta'), load);
  addLayout(program, load);
  addJobs(program, load);
  addInspection(program, load);
  addEvents(program, load);
  addBuckets(program, load);
  addAccounts(program, load);
  addReplication(program, load);
  addEncryption(program, load);
}

function addEncryption(program: Command, load: Load): void {
  const encryption = program
    .command('encryption')
    .description('Which keys encrypt what is stored, and the change of master keys.');
  const verbs = {
    status: 'Count encrypted versions and uploads by key. Reads all metadata.',
    rotate: 'Wrap all data keys of SSE-S3 by the first master key, so that the others can go.',
  } as const;
  for (const kind of ['status', 'rotate'] as const) {
    verb(encryption, kind, verbs[kind]).action((options: Options) => {
      const loaded = load(options);
      return run(load, options, async (operator, screen) => {
        const { masterKeysOf, rotateKeys, showKeys } = await import('./encryption.ts');
        const keys = masterKeysOf(loaded);
        if (kind === 'status') await showKeys(operator, screen, keys);
        else await rotateKeys(operator, screen, keys);
      });
    });
  }
}

function addStatus(program: Command, load: Load): void {
  verb(program, 'status', 'The state of the cluster on one screen.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./status.ts')).showStatus(operator, screen),
    ),
  );
  verb(program, 'health', 'Exit code 0 when all is well, 1 when not, 69 when nobody answers.')
    .option('--wait <DURATION>', 'Wait for it as long as this.')
    .action((options: Options) =>
      run(load, options, async (operator, screen) => {
        const waitMs = options['wait'] === undefined ? 0 : time(options['wait'], '--wait');
        await (await import('./status.ts')).showHealth(operator, screen, waitMs);
      }),
    );
}

/**
 * Beside `ashlar node`, which runs one: `ashlar node list` and so on. Options that both have, such as
 * `--meta-address`, are taken by the outer command wherever they stand.
 */
function addNodes(node: Command, load: Load): void {
  verb(node, 'list', 'All storage nodes.').action((_: Options, command: Command) =>
    run(load, command.optsWithGlobals<Options>(), async (operator, screen) =>
      (await import('./status.ts')).listNodes(operator, screen),
    ),
  );
  verb(node, 'info <NODE>', 'One storage node.').action(
    (id: string, _: Options, command: Command) =>
      run(load, command.optsWithGlobals<Options>(), async (operator, screen) =>
        (await import('./status.ts')).showNode(operator, screen, id),
      ),
  );
  const changes = {
    drain: 'Empty a node; it serves until its data is elsewhere.',
    undrain: 'Let a node that is being emptied be filled again.',
    remove: 'Take a node out of the cluster for good.',
    replace: "Accept a new, blank disk under the node's name and fill it.",
  } as const;
  for (const kind of ['drain', 'undrain', 'remove', 'replace'] as const) {
    const change = verb(node, `${kind} <NODE>`, changes[kind]).option(...YES);
    if (kind === 'remove') {
      change.option('--force', 'Even when it holds the only good copy of something.');
    }
    change.action((id: string, _: Options, command: Command) =>
      run(load, command.optsWithGlobals<Options>(), async (operator, screen, options) => {
        const force = kind === 'remove' && options['force'] === true ? { force: true } : {};
        const { changeNode } = await import('./layout.ts');
        const yes = options['yes'] === true;
        await changeNode(operator, screen, { kind, node: id, ...force }, yes);
      }),
    );
  }
}

function addLayout(program: Command, load: Load): void {
  const layout = program.command('layout').description('Which node holds what.');
  verb(layout, 'show', 'The layout in force, and what is staged.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./layout.ts')).showLayout(operator, screen),
    ),
  );
  verb(
    layout,
    'stage <CHANGE> <ARGUMENT...>',
    'Stage: add|drain|undrain|remove|replace NODE..., zone NODE ZONE, weight NODE SIZE.',
  )
    .option('--force', 'With remove: even when it holds the only good copy of something.')
    .action((kind: string, words: string[], options: Options) =>
      run(load, options, async (operator, screen) => {
        const { parseChanges, stageChanges } = await import('./layout.ts');
        const changes = parseChanges(kind, words, options['force'] === true);
        await stageChanges(operator, screen, changes);
      }),
    );
  verb(layout, 'diff', 'What applying the staged changes would do.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./layout.ts')).showDiff(operator, screen),
    ),
  );
  verb(layout, 'apply', 'Apply what is staged.')
    .option('--epoch <NUMBER>', 'Only if this is the epoch that it makes.')
    .option(...YES)
    .action((options: Options) =>
      run(load, options, async (operator, screen) => {
        const epoch = options['epoch'] === undefined ? undefined : Number(options['epoch']);
        const yes = options['yes'] === true;
        await (await import('./layout.ts')).applyStaged(operator, screen, { yes, epoch });
      }),
    );
  verb(layout, 'revert', 'Drop what is staged.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./layout.ts')).revertStaged(operator, screen),
    ),
  );
}

const JOB_VERBS = [
  ['repair', 'Make missing and damaged replicas again.', 'run'],
  ['rebalance', 'Move data to where the layout wants it.', 'run'],
  ['scrub', 'Read and verify every replica.', 'start'],
  ['gc', 'Remove what was deleted, overwritten, aborted or never committed.', 'run'],
  ['lifecycle', 'Expire what the lifecycle rules of buckets say.', 'run'],
] as const;
const JOBS_OF = {
  repair: ['repair'],
  rebalance: ['rebalance'],
  scrub: ['scrub', 'journal'],
  gc: ['garbage', 'orphans'],
  lifecycle: ['lifecycle'],
} as const;

function addJobs(program: Command, load: Load): void {
  for (const [name, description, start] of JOB_VERBS) {
    const names = JOBS_OF[name];
    const parent = program.command(name).description(description);
    verb(parent, 'status', 'How far it is.').action((options: Options) =>
      run(load, options, async (operator, screen) =>
        (await import('./jobs.ts')).showJobs(operator, screen, names),
      ),
    );
    const actions = [
      [start, 'run', 'Begin now.'],
      ['pause', 'pause', 'Hold it until it is resumed, over restarts too.'],
      ['resume', 'resume', 'Go on.'],
    ] as const;
    for (const [word, action, help] of actions) {
      const command = verb(parent, word, help);
      if (name !== 'gc' && name !== 'lifecycle' && action !== 'pause') {
        command.option(
          '--rate <SIZE>',
          'Bytes per second from now on, such as 50MiB; 0: no limit.',
        );
      }
      command.action((options: Options) =>
        run(load, options, async (operator, screen) => {
          const { controlJobs, parseRate } = await import('./jobs.ts');
          const rate = parseRate(options['rate']);
          await controlJobs(operator, screen, { names, action, rate });
        }),
      );
    }
  }
}

function addEvents(program: Command, load: Load): void {
  const events = program.command('events').description('Events that wait for delivery.');
  verb(events, 'status', 'What waits, what was dropped, and why.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./events.ts')).showEvents(operator, screen),
    ),
  );
}

function addReplication(program: Command, load: Load): void {
  const replication = program
    .command('replication')
    .description('Replicas of buckets at other S3 endpoints.');
  verb(replication, 'status', 'What waits for its replica, and why.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./replication.ts')).showReplication(operator, screen),
    ),
  );
  verb(replication, 'resync <BUCKET>', 'Replicate what was there before, or has failed.')
    .option('--all', 'What is replicated already, too.')
    .option('--wait', 'Until nothing of the bucket waits any more.')
    .action((bucket: string, options: Options) =>
      run(load, options, async (operator, screen) => {
        const { resync } = await import('./replication.ts');
        const [all, wait] = [options['all'] === true, options['wait'] === true];
        await resync(operator, screen, { bucket, all, wait });
      }),
    );
}

/** Beside `ashlar meta`, which runs the service. */
function addSnapshot(meta: Command, load: Load): void {
  verb(meta, 'snapshot', 'Put a snapshot of the metadata on the storage nodes now.').action(
    (_: Options, command: Command) =>
      run(load, command.optsWithGlobals<Options>(), async (operator, screen) => {
        const { controlJobs } = await import('./jobs.ts');
        await controlJobs(operator, screen, { names: ['snapshot'], action: 'run' });
      }),
  );
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

/** What says an access key; what is left out is made at random. */
function takesKey(command: Command): Command {
  return command
    .option('--access-key <KEY>', 'The access key; made at random when it is not given.')
    .option('--secret-key-file <FILE>', 'File that holds the secret key; - is standard input.')
    .option(
      '--secret-key <SECRET>',
      'The secret key, for others on this machine to see: for tests.',
    );
}

const keyOptions = (options: Options) => ({
  accessKey: text(options['accessKey']),
  secretKey: text(options['secretKey']),
  secretKeyFile: text(options['secretKeyFile']),
});

function addAccounts(program: Command, load: Load): void {
  const account = program.command('account').description('Accounts and their access keys.');
  const create = verb(account, 'create <NAME>', 'A new account with an access key.')
    .option('--id <ID>', 'Canonical id, 64 hex digits; made at random when it is not given.')
    .option('--number <NUMBER>', 'Account number, 12 digits; made of the id when it is not given.')
    .option('--email <ADDRESS>', 'By which others may grant something to it.');
  takesKey(create).action((name: string, options: Options) =>
    run(load, options, async (operator, screen) => {
      const { createAccount } = await import('./account.ts');
      await createAccount(operator, screen, name, {
        ...keyOptions(options),
        id: text(options['id']),
        number: text(options['number']),
        email: text(options['email']),
      });
    }),
  );
  verb(account, 'list', 'All accounts that are kept in the cluster.').action((options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./account.ts')).listAccounts(operator, screen),
    ),
  );
  verb(account, 'delete <ACCOUNT>', 'Delete an account that owns no buckets, by name or id.')
    .option(...YES)
    .action((name: string, options: Options) =>
      run(load, options, async (operator, screen) => {
        const { deleteAccount } = await import('./account.ts');
        await deleteAccount(operator, screen, name, options['yes'] === true);
      }),
    );
  const key = account.command('key').description('Access keys of accounts.');
  takesKey(verb(key, 'create <ACCOUNT>', 'One more access key.')).action(
    (name: string, options: Options) =>
      run(load, options, async (operator, screen) =>
        (await import('./account.ts')).createKey(operator, screen, name, keyOptions(options)),
      ),
  );
  verb(key, 'delete <ACCESS-KEY>', 'Delete an access key.').action(
    (accessKey: string, options: Options) =>
      run(load, options, async (operator, screen) =>
        (await import('./account.ts')).deleteKey(operator, screen, accessKey),
      ),
  );
}

function addBuckets(program: Command, load: Load): void {
  const bucket = program.command('bucket').description('What buckets hold and may hold.');
  verb(bucket, 'list', 'All buckets, with what they hold.')
    .option('--prefix <TEXT>', 'Only names that begin like this.')
    .action((options: Options) =>
      run(load, options, async (operator, screen) => {
        const prefix = typeof options['prefix'] === 'string' ? options['prefix'] : '';
        await (await import('./bucket.ts')).listBuckets(operator, screen, prefix);
      }),
    );
  verb(bucket, 'info <BUCKET>', 'One bucket.').action((name: string, options: Options) =>
    run(load, options, async (operator, screen) =>
      (await import('./bucket.ts')).showBucket(operator, screen, name),
    ),
  );
  verb(bucket, 'quota <BUCKET>', 'Limit what a bucket may hold, older versions included.')
    .option('--bytes <SIZE>', 'Such as 500MiB or 2TB; none: no limit.')
    .option('--objects <NUMBER>', 'Versions and delete markers count; none: no limit.')
    .action((name: string, options: Options) =>
      run(load, options, async (operator, screen) => {
        const wanted = { bytes: options['bytes'], objects: options['objects'] };
        await (await import('./bucket.ts')).setQuota(operator, screen, name, wanted);
      }),
    );
}

function addInspection(program: Command, load: Load): void {
  verb(program, 'fsck', 'Compare the metadata with the nodes; exit code 1 when something is wrong.')
    .option('--repair', 'Mend what can be mended.')
    .action((options: Options) =>
      run(load, options, async (operator, screen) =>
        (await import('./fsck.ts')).runFsck(operator, screen, options['repair'] === true),
      ),
    );
  const object = program.command('object').description('Look at one object.');
  for (const [word, help, verify] of [
    ['locate', 'Where every block and replica of it lies.', false],
    ['verify', 'Read and verify every replica of it.', true],
  ] as const) {
    verb(object, `${word} <BUCKET/KEY>`, help)
      .option('--version-id <ID>', 'This version instead of the current one.')
      .action((name: string, options: Options) =>
        run(load, options, async (operator, screen) => {
          const given = options['versionId'];
          const versionId = typeof given === 'string' ? given : undefined;
          const { locateObject } = await import('./object.ts');
          await locateObject(operator, screen, name, { verify, versionId });
        }),
      );
  }
}
