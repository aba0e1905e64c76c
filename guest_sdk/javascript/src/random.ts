/**
 * Randomness of the host. An engine's own generator is seeded when the component is built, and repeats itself in
 * each run.
 */

import { getRandomBytes } from "wasi:random/random@0.2.12";

declare const GUESTHOUSE_ENGINE: string;

const MOST = 65_536;
const builtIn = Math.random;
let running = false;
let words = new Uint32Array(0);
let next = 0;

/** The process runs: before, while the component is built, there is no host. */
export function startRandom(): void {
  running = true;
}

/** For `Math.random`. */
export function random(): number {
  if (!running) return builtIn();
  if (next + 2 > words.length) {
    words = new Uint32Array(bytes(1024).slice().buffer);
    next = 0;
  }
  const high = words[next++]! >>> 5;
  const low = words[next++]! >>> 6;
  return (high * 67_108_864 + low) / 9_007_199_254_740_992;
}

function bytes(length: number): Uint8Array {
  if (!running) throw new Error("randomness is there once the process runs: use it in onStart or later");
  return getRandomBytes((GUESTHOUSE_ENGINE === "quickjs" ? length : BigInt(length)) as bigint);
}

/** The part of the Web Crypto API that needs no keys. */
export const guestCrypto = {
  getRandomValues<T extends ArrayBufferView>(array: T): T {
    if (array.byteLength > MOST) throw new RangeError(`at most ${MOST} bytes are drawn at once`);
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes(array.byteLength));
    return array;
  },

  randomUUID(): string {
    const drawn = bytes(16);
    drawn[6] = (drawn[6]! & 0x0f) | 0x40;
    drawn[8] = (drawn[8]! & 0x3f) | 0x80;
    const hex = Array.from(drawn, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  },
};
