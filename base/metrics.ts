/**
 * Counters, gauges and histograms in the Prometheus text format: a thin face of prom-client with a
 * registry of its own per process (or per server in the embedded mode), no globals and nothing
 * collected unless somebody asked for it.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Label values of one sample. */
export type Labels<Name extends string> = Partial<Record<Name, string | number>>;

export interface MetricOptions<Name extends string> {
  /** Snake case with unit and, for counters, `_total`: `ashlar_rpc_duration_seconds`. */
  name: string;
  /** One sentence. */
  help: string;
  labels?: readonly Name[];
}

/** Of a counter that is kept elsewhere. */
export interface CountFace<Name extends string> {
  /** The sum so far. */
  set(value: number, labels?: Labels<Name>): void;
}

export interface CounterMetric<Name extends string> {
  /** `amount` is 1 unless given, never negative. */
  add(labels?: Labels<Name>, amount?: number): void;
}

export interface GaugeMetric<Name extends string> {
  set(value: number, labels?: Labels<Name>): void;
  /** Forgets all samples: for labels that come and go. */
  clear(): void;
}

export interface HistogramMetric<Name extends string> {
  /** `value` in the unit that the name ends with. */
  observe(value: number, labels?: Labels<Name>): void;
  /** `observe` for one set of labels, for where it is called often. */
  bind(labels: Labels<Name>): (value: number) => void;
}

export interface Metrics {
  counter<const Name extends string = never>(options: MetricOptions<Name>): CounterMetric<Name>;
  /** A counter that is kept elsewhere: `collect` is called before each exposition, and sets every sample. */
  counted<const Name extends string = never>(
    options: MetricOptions<Name> & { collect: (face: CountFace<Name>) => void | Promise<void> },
  ): void;
  /** `collect` is called before each exposition, to set values that are read on demand. */
  gauge<const Name extends string = never>(
    options: MetricOptions<Name> & {
      collect?: (gauge: GaugeMetric<Name>) => void | Promise<void>;
    },
  ): GaugeMetric<Name>;
  /** `buckets`: upper bounds, ascending. */
  histogram<const Name extends string = never>(
    options: MetricOptions<Name> & { buckets: readonly number[] },
  ): HistogramMetric<Name>;
  /** Everything registered, for a `/metrics` answer. */
  expose(): Promise<{ contentType: string; body: string }>;
}

/** Two metrics of one name are an error of ours and throw. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const common = <Name extends string>(options: MetricOptions<Name>) => ({
    name: options.name,
    help: options.help,
    labelNames: [...(options.labels ?? [])],
    registers: [registry],
  });
  return {
    counter(options) {
      const counter = new Counter(common(options));
      return { add: (labels, amount = 1) => counter.inc(labels ?? {}, amount) };
    },
    counted(options) {
      const counter: Counter = new Counter({
        ...common(options),
        async collect() {
          counter.reset();
          if (common(options).labelNames.length === 0) counter.remove();
          await options.collect({ set: (value, labels) => counter.inc(labels ?? {}, value) });
        },
      });
    },
    gauge(options) {
      const { collect } = options;
      const gauge = new Gauge({
        ...common(options),
        ...(collect === undefined ? {} : { collect: () => collect(face) }),
      });
      const face: GaugeMetric<string> = {
        set: (value, labels) => gauge.set(labels ?? {}, value),
        clear() {
          gauge.reset();
          // Without labels, a reset leaves a sample of 0.
          if (common(options).labelNames.length === 0) gauge.remove();
        },
      };
      return face;
    },
    histogram(options) {
      const histogram = new Histogram({ ...common(options), buckets: [...options.buckets] });
      return {
        observe: (value, labels) => histogram.observe(labels ?? {}, value),
        bind(labels) {
          const child = histogram.labels(labels);
          return (value) => child.observe(value);
        },
      };
    },
    async expose() {
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}
