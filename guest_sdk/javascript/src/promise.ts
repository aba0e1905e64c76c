/**
 * Promises with a job queue of the SDK's own. Neither engine runs its own queue while `run` loops, so the build turns
 * `async` functions into ones that use the global `Promise`, which is this class.
 */

type Settle<T> = (value: T | PromiseLike<T>) => void;
type Reject = (reason?: unknown) => void;
type State = "pending" | "fulfilled" | "rejected";

const jobs: (() => void)[] = [];
const unhandled = new Set<{ reason: unknown }>();

/** Run a function after those that wait, before the next message is received. */
export function queueJob(job: () => void): void {
  jobs.push(job);
}

/**
 * Run what waits, and what that queues, until nothing is left.
 *
 * @param failed called with what a job threw, and with the reason of each promise that was rejected unheard.
 */
export function runJobs(failed: (reason: unknown) => void): void {
  for (let next = 0; next < jobs.length; next++) {
    try {
      jobs[next]!();
    } catch (error) {
      failed(error);
    }
    if (next === 1023) {
      jobs.splice(0, next + 1);
      next = -1;
    }
  }
  jobs.length = 0;
  for (const promise of unhandled) failed(promise.reason);
  unhandled.clear();
}

export class GuestPromise<T> implements PromiseLike<T> {
  #state: State = "pending";
  #value: unknown;
  #waiting: (() => void)[] = [];
  #heard = false;

  constructor(executor: (resolve: Settle<T>, reject: Reject) => void) {
    if (typeof executor !== "function") throw new TypeError(`Promise resolver ${String(executor)} is not a function`);
    const { resolve, reject } = this.#once();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }

  static get [Symbol.species](): typeof GuestPromise {
    return this;
  }

  /** Why it was rejected. */
  get reason(): unknown {
    return this.#value;
  }

  then<A = T, B = never>(
    fulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): GuestPromise<A | B> {
    this.#heard = true;
    unhandled.delete(this);
    return new GuestPromise<A | B>((resolve, reject) => {
      const react = (): void => {
        const handler = this.#state === "fulfilled" ? fulfilled : rejected;
        try {
          if (typeof handler === "function") resolve((handler as (value: unknown) => A | B)(this.#value));
          else if (this.#state === "fulfilled") resolve(this.#value as A);
          else reject(this.#value);
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === "pending") this.#waiting.push(react);
      else queueJob(react);
    });
  }

  catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): GuestPromise<T | B> {
    return this.then(null, rejected);
  }

  finally(settled?: (() => void) | null): GuestPromise<T> {
    if (typeof settled !== "function") return this.then();
    return this.then(
      (value) => GuestPromise.resolve(settled()).then(() => value),
      (reason) =>
        GuestPromise.resolve(settled()).then(() => {
          throw reason;
        }),
    );
  }

  static resolve<V>(value?: V | PromiseLike<V>): GuestPromise<V> {
    if (value instanceof GuestPromise) return value as GuestPromise<V>;
    return new GuestPromise<V>((resolve) => resolve(value as V));
  }

  static reject<V = never>(reason?: unknown): GuestPromise<V> {
    return new GuestPromise<V>((_, reject) => reject(reason));
  }

  static withResolvers<V>(): { promise: GuestPromise<V>; resolve: Settle<V>; reject: Reject } {
    let resolve!: Settle<V>;
    let reject!: Reject;
    const promise = new GuestPromise<V>((settle, refuse) => {
      resolve = settle;
      reject = refuse;
    });
    return { promise, resolve, reject };
  }

  static try<V, A extends unknown[]>(call: (...given: A) => V | PromiseLike<V>, ...given: A): GuestPromise<V> {
    return new GuestPromise<V>((resolve) => resolve(call(...given)));
  }

  static all<V>(values: Iterable<V | PromiseLike<V>>): GuestPromise<V[]> {
    return gather<V, V, V[]>(values, (promise, keep, _, reject) => promise.then(keep, reject), (kept) => kept);
  }

  static allSettled<V>(values: Iterable<V | PromiseLike<V>>): GuestPromise<PromiseSettledResult<V>[]> {
    return gather<V, PromiseSettledResult<V>, PromiseSettledResult<V>[]>(
      values,
      (promise, keep) =>
        promise.then(
          (value) => keep({ status: "fulfilled", value }),
          (reason) => keep({ status: "rejected", reason }),
        ),
      (kept) => kept,
    );
  }

  static any<V>(values: Iterable<V | PromiseLike<V>>): GuestPromise<V> {
    return gather<V, unknown, V>(
      values,
      (promise, keep, resolve) => promise.then(resolve, keep),
      (reasons) => {
        throw new AggregateError(reasons, "all promises were rejected");
      },
    );
  }

  static race<V>(values: Iterable<V | PromiseLike<V>>): GuestPromise<V> {
    return new GuestPromise<V>((resolve, reject) => {
      for (const value of values) GuestPromise.resolve(value).then(resolve, reject);
    });
  }

  #once(): { resolve: Settle<T>; reject: Reject } {
    let called = false;
    return {
      resolve: (value) => {
        if (called) return;
        called = true;
        this.#resolve(value);
      },
      reject: (reason) => {
        if (called) return;
        called = true;
        this.#settle("rejected", reason);
      },
    };
  }

  #resolve(value: T | PromiseLike<T>): void {
    if ((value as unknown) === this) {
      this.#settle("rejected", new TypeError("a promise cannot be resolved with itself"));
      return;
    }
    if (value === null || (typeof value !== "object" && typeof value !== "function")) {
      this.#settle("fulfilled", value);
      return;
    }
    let then: unknown;
    try {
      then = (value as PromiseLike<T>).then;
    } catch (error) {
      this.#settle("rejected", error);
      return;
    }
    if (typeof then !== "function") {
      this.#settle("fulfilled", value);
      return;
    }
    queueJob(() => {
      const { resolve, reject } = this.#once();
      try {
        (then as PromiseLike<T>["then"]).call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state: State, value: unknown): void {
    this.#state = state;
    this.#value = value;
    if (state === "rejected" && !this.#heard) unhandled.add(this);
    for (const react of this.#waiting) queueJob(react);
    this.#waiting = [];
  }
}

function gather<V, K, R>(
  values: Iterable<V | PromiseLike<V>>,
  watch: (promise: GuestPromise<V>, keep: (kept: K) => void, resolve: Settle<R>, reject: Reject) => unknown,
  end: (kept: K[]) => R,
): GuestPromise<R> {
  return new GuestPromise<R>((resolve, reject) => {
    const kept: K[] = [];
    let missing = 1;
    const done = (): void => {
      if (--missing > 0) return;
      try {
        resolve(end(kept));
      } catch (error) {
        reject(error);
      }
    };
    let index = 0;
    for (const value of values) {
      const place = index++;
      missing++;
      watch(
        GuestPromise.resolve(value),
        (item) => {
          kept[place] = item;
          done();
        },
        resolve,
        reject,
      );
    }
    done();
  });
}
