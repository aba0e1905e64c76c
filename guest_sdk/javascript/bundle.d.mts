import type { LineTable } from "./src/stack.ts";

export const BUNDLE: string;
export const SDK: string;
export function bundled(source: string, engine: string, format?: "esm" | "cjs"): Promise<{ text: string; map: object }>;
export function lineTable(text: string, map: object, source: string): LineTable;
