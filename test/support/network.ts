/**
 * A network of its own for processes of a test: every one in a network namespace, all on one bridge,
 * so that the way from one to another can be cut while everything else goes on. Linux, as root, with
 * `ip` of iproute2.
 */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';

export interface TestNetwork {
  /** The address of each member. */
  readonly addresses: ReadonlyMap<string, string>;
  /** The words before a command that make it run as this member. */
  inside(member: string): readonly string[];
  /** From now on nothing that `from` sends reaches `to`; nobody is told. */
  cut(from: string, to: string): void;
  mend(from: string, to: string): void;
  remove(): void;
}

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

/** Nobody has it: what is sent there is lost on the bridge. */
const NOWHERE = '02:00:00:00:00:01';

/** Undefined where namespaces cannot be made. This process is a member, too, without a name. */
export function createNetwork(members: readonly string[]): TestNetwork | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const tag = `ashl${randomInt(36 ** 4).toString(36)}`;
  const subnet = `10.${randomInt(200, 250)}.${randomInt(1, 250)}`;
  const hub = `${tag}-hub`;
  const addresses = new Map(members.map((name, index) => [name, `${subnet}.${index + 2}`]));
  const space = (member: string): string => `${tag}-${member}`;
  const made: string[] = [];
  const remove = (): void => {
    for (const name of made.splice(0)) ip('netns', 'del', name);
  };
  try {
    ip('netns', 'add', hub);
    made.push(hub);
    ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', hub, 'link', 'set', 'br0', 'up');
    for (const [index, member] of members.entries()) {
      const name = space(member);
      const port = `p${index}`;
      ip('netns', 'add', name);
      made.push(name);
      ip('-n', hub, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      ip('-n', hub, 'link', 'set', port, 'master', 'br0', 'up');
      ip('-n', name, 'addr', 'add', `${addresses.get(member) ?? ''}/24`, 'dev', 'eth0');
      ip('-n', name, 'link', 'set', 'eth0', 'up');
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    // It goes with the hub's namespace, where its other end is.
    ip('link', 'add', tag, 'type', 'veth', 'peer', 'name', 'out', 'netns', hub);
    ip('-n', hub, 'link', 'set', 'out', 'master', 'br0', 'up');
    ip('addr', 'add', `${subnet}.254/24`, 'dev', tag);
    ip('link', 'set', tag, 'up');
  } catch {
    remove();
    return undefined;
  }
  const neighbour = (from: string, verb: string, to: string, ...more: string[]): void =>
    ip('-n', space(from), 'neigh', verb, addresses.get(to) ?? '', 'dev', 'eth0', ...more);
  return {
    addresses,
    inside: (member) => ['ip', 'netns', 'exec', space(member)],
    cut: (from, to) => neighbour(from, 'replace', to, 'lladdr', NOWHERE, 'nud', 'permanent'),
    mend: (from, to) => neighbour(from, 'del', to),
    remove,
  };
}
