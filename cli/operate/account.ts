/** `ashlar account …`: the accounts that the metadata service keeps, and their access keys. */
import { readFileSync } from 'node:fs';
import { systemEffects } from '../../base/clock.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { numberOf } from '../../base/account-number.ts';
import type { ShownAccount } from '../../meta/admin-protocol.ts';
import { generateCredentials } from '../credentials.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import type { Paint } from './paint.ts';
import { confirmed, type Screen } from './screen.ts';
import { columns } from './table.ts';

const PAGE = 100;

/** What the command line says of an access key; what it does not say is made at random. */
export interface KeyOptions {
  accessKey: string | undefined;
  secretKey: string | undefined;
  /** `-`: standard input. */
  secretKeyFile: string | undefined;
}

export interface NewAccountOptions extends KeyOptions {
  id: string | undefined;
  number: string | undefined;
  email: string | undefined;
}

interface Key {
  accessKey: string;
  secretKey: string;
}

/** The only time that the secret is shown is when it was made here. */
interface Made extends ShownAccount {
  accessKey: string;
  secretKey?: string;
}

function keyOf(options: KeyOptions): { key: Key; generated: boolean } {
  const { accessKey, secretKey, secretKeyFile } = options;
  if (secretKey !== undefined && secretKeyFile !== undefined) {
    throw new VerbError('Say --secret-key or --secret-key-file, not both.', EXIT.usage);
  }
  const given = secretKeyFile === undefined ? secretKey : readSecret(secretKeyFile);
  const made = generateCredentials(systemEffects.random);
  const key = { accessKey: accessKey ?? made.accessKey, secretKey: given ?? made.secretKey };
  return { key, generated: given === undefined };
}

function readSecret(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8').trimEnd();
  } catch {
    throw new VerbError(`The file ${path} cannot be read.`, EXIT.usage);
  }
}

function madeOf(account: ShownAccount, { key, generated }: { key: Key; generated: boolean }): Made {
  const { accessKey, secretKey } = key;
  return { ...account, accessKey, ...(generated && { secretKey }) };
}

export async function createAccount(
  operator: Operator,
  screen: Screen,
  name: string,
  options: NewAccountOptions,
): Promise<void> {
  const id = options.id ?? systemEffects.random.bytes(32).toString('hex');
  const made = keyOf(options);
  const account = await operator.admin.createAccount(
    {
      id,
      number: options.number ?? numberOf(id),
      displayName: name,
      ...(options.email !== undefined && { email: options.email }),
      key: made.key,
    },
    operator.call,
  );
  const shown = madeOf(account, made);
  screen.show(shown, () => [...accountLines(account), ...keyLines(shown, screen.paint)]);
}

export async function listAccounts(operator: Operator, screen: Screen): Promise<void> {
  const accounts: ShownAccount[] = [];
  let after: string | undefined;
  do {
    const page = await operator.admin.listAccounts({ after, limit: PAGE }, operator.call);
    accounts.push(...page.accounts);
    after = page.next;
  } while (after !== undefined);
  screen.show(accounts, () => listLines(accounts, screen.paint));
}

export async function deleteAccount(
  operator: Operator,
  screen: Screen,
  account: string,
  yes: boolean,
): Promise<void> {
  const question = `Account ${account} and its access keys will be gone.`;
  if (!(await confirmed(yes, question, account))) return;
  await operator.admin.deleteAccount({ account }, operator.call);
  screen.show({ deleted: account }, () => [
    `Account ${account} is deleted; its keys stop working within a second.`,
  ]);
}

export async function createKey(
  operator: Operator,
  screen: Screen,
  account: string,
  options: KeyOptions,
): Promise<void> {
  const made = keyOf(options);
  const shown = madeOf(
    await operator.admin.createAccessKey({ account, ...made.key }, operator.call),
    made,
  );
  screen.show(shown, () => keyLines(shown, screen.paint));
}

export async function deleteKey(
  operator: Operator,
  screen: Screen,
  accessKey: string,
): Promise<void> {
  await operator.admin.deleteAccessKey({ accessKey }, operator.call);
  screen.show({ deleted: accessKey }, () => [
    `Access key ${accessKey} is deleted; it stops working within a second.`,
  ]);
}

export function listLines(accounts: readonly ShownAccount[], paint: Paint): string[] {
  if (accounts.length === 0) {
    return ['There are no accounts beside root and those of the configuration.'];
  }
  return columns([
    ['NAME', 'NUMBER', 'E-MAIL', 'KEYS', 'ID'].map((title) => paint.faint(title)),
    ...accounts.map(({ displayName, number, email, accessKeys, id }) => [
      displayName,
      number,
      email ?? '-',
      accessKeys.join(',') || '-',
      id,
    ]),
  ]);
}

function accountLines({ displayName, id, number, email }: ShownAccount): string[] {
  return columns([
    ['Account', displayName],
    ['Id', id],
    ['Number', number],
    ...(email === undefined ? [] : [['E-mail', email]]),
  ]);
}

function keyLines({ accessKey, secretKey }: Made, paint: Paint): string[] {
  return [
    ...columns([
      ['Access key', accessKey],
      ['Secret key', secretKey ?? 'as given'],
    ]),
    ...(secretKey === undefined ? [] : [paint.faint('The secret is shown only now.')]),
  ];
}
