/** What became of the calls of a process, by peer and method, on its way from the channels to the metrics. */
import type { FailureKind } from '../failure.ts';
import type { RpcObserver } from './client.ts';

export interface RpcSample {
  durationMs: number;
  failure: FailureKind | undefined;
}

/** Made once per peer and method; called for every call. */
type RpcSink = (sample: RpcSample) => void;

export interface RpcRecord {
  /** For the channel to `peer`; `nameOf` tells the method behind a number. */
  observer(peer: string, nameOf: (method: number) => string | undefined): RpcObserver;
  /** From now on samples go here; `sink` is asked once per peer and method. */
  attach(sink: (peer: string, method: string) => RpcSink): void;
}

export function createRpcRecord(): RpcRecord {
  let makeSink: ((peer: string, method: string) => RpcSink) | undefined;
  return {
    observer(peer, nameOf) {
      const sinks = new Map<number, RpcSink>();
      return (method, durationMs, failure) => {
        let sink = sinks.get(method);
        if (sink === undefined) {
          sink = makeSink?.(peer, nameOf(method) ?? 'unknown');
          if (sink === undefined) return;
          sinks.set(method, sink);
        }
        sink({ durationMs, failure });
      };
    },
    attach(sink) {
      makeSink = sink;
    },
  };
}
