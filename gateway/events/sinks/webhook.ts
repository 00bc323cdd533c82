/** A target that takes events by HTTP POST. Anything but a 2xx means that it has not taken one. */
import { Failure } from '../../../base/failure.ts';
import type { EventSink, SinkEffects, WebhookTarget } from './sink.ts';

export function createWebhookSink(
  { name, url, token, timeoutMs }: WebhookTarget,
  { clock, fetch: post }: SinkEffects,
): EventSink {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  if (token !== undefined) headers['Authorization'] = `Bearer ${token}`;
  return {
    async send(message) {
      const abort = new AbortController();
      const timer = clock.after(timeoutMs, () => abort.abort());
      try {
        const reply = await post(url, {
          method: 'POST',
          headers,
          body: message,
          // Elsewhere is somebody else, who must not see the token.
          redirect: 'manual',
          signal: abort.signal,
        });
        await reply.body?.cancel();
        if (reply.ok) return;
        throw new Failure('unavailable', `the webhook ${name} answered ${reply.status}`);
      } catch (error) {
        if (error instanceof Failure) throw error;
        const why = abort.signal.aborted ? `has not answered in ${timeoutMs} ms` : reasonOf(error);
        throw new Failure('unavailable', `the webhook ${name} ${why}`, { cause: error });
      } finally {
        timer.cancel();
      }
    },
    close: () => Promise.resolve(),
  };
}

/** `fetch` hides the reason in a cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown }).code;
  return `cannot be reached (${typeof code === 'string' ? code : String(cause)})`;
}
