// SPDX-License-Identifier: BSD-2-Clause
export const enum Level {
    Plain = 1,
    Formal = Plain << 2,
}

export function greet(name: string, level: Level): string {
    const { length } = [...name];
    return level === Level.Formal ? `Honoured ${name} (${length} letters, \u03bb)` : `Hello ${name}`;
}
