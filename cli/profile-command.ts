/** `ashlar profile print|write`. */
import { systemRandom } from '../base/clock.ts';
import { processEnvironment } from '../base/config.ts';
import { readEndpoint } from './endpoint.ts';
import {
  awsConfigSection,
  awsCredentialsSection,
  type Endpoint,
  PROFILE,
  profileFiles,
  profileText,
  rcloneSection,
  shellExports,
  writeProfile,
} from './profile.ts';
import { defaultDataFolder, type Settings } from './settings.ts';

const endpointOf = (settings: Settings): Endpoint =>
  readEndpoint(settings.data ?? defaultDataFolder(processEnvironment()), settings);

export function printProfile(settings: Settings, options: Readonly<Record<string, unknown>>): void {
  const endpoint = endpointOf(settings);
  const parts = [
    ...(options['shell'] === true ? [shellExports(endpoint)] : []),
    ...(options['aws'] === true
      ? [awsConfigSection(endpoint), awsCredentialsSection(endpoint)]
      : []),
    ...(options['rclone'] === true ? [rcloneSection(endpoint)] : []),
  ];
  process.stdout.write(parts.length === 0 ? profileText(endpoint) : parts.join('\n'));
}

export function saveProfile(settings: Settings): void {
  const files = profileFiles(processEnvironment());
  for (const path of writeProfile(endpointOf(settings), files, systemRandom)) {
    console.log(`wrote ${path}`);
  }
  console.log(`Try: aws --profile ${PROFILE} s3 ls     or: rclone lsd ${PROFILE}:`);
}
