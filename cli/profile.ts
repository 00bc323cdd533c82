/** Ready-made client settings for an endpoint: AWS profile, rclone remote, shell exports. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Random } from '../base/clock.ts';
import type { RootCredentials } from './credentials.ts';
import { readIfThere, writeWhole } from './files.ts';

export interface Endpoint extends RootCredentials {
  url: string;
  region: string;
}

export const PROFILE = 'ashlar';

/** The `[profile ashlar]` section of the AWS configuration file. */
export function awsConfigSection(endpoint: Endpoint): string {
  return [
    `[profile ${PROFILE}]`,
    `region = ${endpoint.region}`,
    `endpoint_url = ${endpoint.url}`,
    's3 =',
    '    addressing_style = path',
    '',
  ].join('\n');
}

/** The `[ashlar]` section of the AWS credentials file. */
export function awsCredentialsSection(endpoint: Endpoint): string {
  return [
    `[${PROFILE}]`,
    `aws_access_key_id = ${endpoint.accessKey}`,
    `aws_secret_access_key = ${endpoint.secretKey}`,
    '',
  ].join('\n');
}

/** The rclone remote `ashlar:`. Its provider Minio needs only path style; `Other` adds workarounds. */
export function rcloneSection(endpoint: Endpoint): string {
  return [
    `[${PROFILE}]`,
    'type = s3',
    'provider = Minio',
    `access_key_id = ${endpoint.accessKey}`,
    `secret_access_key = ${endpoint.secretKey}`,
    `endpoint = ${endpoint.url}`,
    `region = ${endpoint.region}`,
    '',
  ].join('\n');
}

/** Shell lines for `eval`. */
export function shellExports(endpoint: Endpoint): string {
  return [
    `export AWS_ACCESS_KEY_ID='${endpoint.accessKey}'`,
    `export AWS_SECRET_ACCESS_KEY='${endpoint.secretKey}'`,
    `export AWS_ENDPOINT_URL_S3='${endpoint.url}'`,
    `export AWS_REGION='${endpoint.region}'`,
    `export AWS_DEFAULT_REGION='${endpoint.region}'`,
    '',
  ].join('\n');
}

/** Everything, with a heading each, as `ashlar profile print` shows it. */
export function profileText(endpoint: Endpoint): string {
  return [
    '# AWS configuration (~/.aws/config)',
    awsConfigSection(endpoint),
    '# AWS credentials (~/.aws/credentials)',
    awsCredentialsSection(endpoint),
    '# rclone (~/.config/rclone/rclone.conf)',
    rcloneSection(endpoint),
    '# shell',
    shellExports(endpoint),
  ].join('\n');
}

/** `text` with the section `[name]` put in place of the one it has, or added at the end. */
export function replaceSection(text: string, name: string, section: string): string {
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  const start = lines.findIndex((line) => line.trim() === `[${name}]`);
  const body = section.replace(/\n$/, '').split('\n');
  if (start < 0) return [...lines, ...(lines.length > 0 ? [''] : []), ...body, ''].join('\n');
  const length = lines.slice(start + 1).findIndex((line) => line.trimStart().startsWith('['));
  const end = length < 0 ? lines.length : start + 1 + length;
  const rest = lines.slice(end);
  return [...lines.slice(0, start), ...body, ...(rest.length > 0 ? ['', ...rest] : []), ''].join(
    '\n',
  );
}

/** Where the AWS and rclone files stand: the tools' own variables, else their defaults. */
export function profileFiles(env: Readonly<Record<string, string | undefined>>): {
  awsConfig: string;
  awsCredentials: string;
  rclone: string;
} {
  const home = homedir();
  return {
    awsConfig: env['AWS_CONFIG_FILE'] ?? join(home, '.aws', 'config'),
    awsCredentials: env['AWS_SHARED_CREDENTIALS_FILE'] ?? join(home, '.aws', 'credentials'),
    rclone:
      env['RCLONE_CONFIG'] ??
      join(env['XDG_CONFIG_HOME'] ?? join(home, '.config'), 'rclone', 'rclone.conf'),
  };
}

/** Writes the profile and the remote into those files, leaving everything else in them alone. */
export function writeProfile(
  endpoint: Endpoint,
  files: ReturnType<typeof profileFiles>,
  random: Random,
): string[] {
  const put = (path: string, name: string, section: string): string => {
    writeWhole(path, replaceSection(readIfThere(path) ?? '', name, section), random, 0o600);
    return path;
  };
  return [
    put(files.awsConfig, `profile ${PROFILE}`, awsConfigSection(endpoint)),
    put(files.awsCredentials, PROFILE, awsCredentialsSection(endpoint)),
    put(files.rclone, PROFILE, rcloneSection(endpoint)),
  ];
}
