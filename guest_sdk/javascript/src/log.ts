/** The process's log, and `console`. */

import { print, type Verbosity } from "guesthouse:process/system@0.1.0";

import { described } from "./stack.ts";

export type { Verbosity };

/** Write a line to the process's log. */
export function printToLog(text: string, verbosity: Verbosity = "info"): void {
  print(verbosity, text);
}

/** Log what was thrown, with its stack. */
export function logException(where: string, thrown: unknown): void {
  print("error", `${where} failed: ${described(thrown)}`);
}

/** Values as text: strings as they are, errors with their stack, others much like JSON. */
export function inspected(values: unknown[]): string {
  return values.map((value) => (typeof value === "string" ? value : inspect(value, [], 0))).join(" ");
}

function inspect(value: unknown, seen: unknown[], depth: number): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return described(value);
  if (value instanceof Date || value instanceof RegExp) return value instanceof Date ? value.toJSON() : String(value);
  if (seen.includes(value)) return "[circular]";
  if (depth > 4) return Array.isArray(value) ? "[…]" : "{…}";
  const within = (item: unknown): string => inspect(item, [...seen, value], depth + 1);
  const name = value.constructor?.name ?? "";
  if (ArrayBuffer.isView(value)) return `${name}(${value.byteLength})`;
  if (value instanceof Map) return `Map {${listed([...value].map(([key, item]) => `${within(key)} => ${within(item)}`))}}`;
  if (value instanceof Set) return `Set {${listed([...value].map(within))}}`;
  if (Array.isArray(value)) return `[${listed(value.map(within))}]`;
  const fields = Object.entries(value).map(([key, item]) => `${key}: ${within(item)}`);
  return `${name === "Object" || name === "" ? "" : `${name} `}{${listed(fields)}}`;
}

function listed(items: string[]): string {
  const shown = items.length > 100 ? [...items.slice(0, 100), `… ${items.length - 100} more`] : items;
  return shown.join(", ");
}

type Write = (...values: unknown[]) => void;

/** `console`: `debug` to the level debug, `log` and `info` to info, `warn` to warning, `error` to error. */
export const guestConsole: Record<"debug" | "log" | "info" | "warn" | "error" | "trace", Write> & {
  assert: (condition: unknown, ...values: unknown[]) => void;
} = {
  debug: (...values) => print("debug", inspected(values)),
  log: (...values) => print("info", inspected(values)),
  info: (...values) => print("info", inspected(values)),
  warn: (...values) => print("warning", inspected(values)),
  error: (...values) => print("error", inspected(values)),
  trace: (...values) => print("debug", described(new Error(inspected(values)))),
  assert: (condition, ...values) => {
    if (!condition) print("error", `assertion failed: ${inspected(values)}`);
  },
};
