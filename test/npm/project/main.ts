// SPDX-License-Identifier: BSD-2-Clause
// A small program in TypeScript and JSX: what a bundler has to understand.
import { Tree, type Visitor } from "./lib/tree";
import { greet, Level } from "./lib/greet";
import { unused } from "./lib/unused";
import rivers from "./rivers.json";
import text from "./note.txt";
import { Card } from "./lib/card";

const tree = new Tree<string>((a, b) => (a < b ? -1 : a > b ? 1 : 0));
for (const river of rivers.list) tree.insert(river.name ?? "nameless");

const print: Visitor<string> = (name, depth) => console.log(`${"  ".repeat(depth)}${greet(name, Level.Formal)}`);
tree.walk(print);

async function* slowly<T>(items: readonly T[]): AsyncGenerator<T> {
    for (const item of items) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        yield item;
    }
}

export async function main(): Promise<number> {
    let total = 0;
    for await (const river of slowly(rivers.list)) total += river.km ?? 0;
    total **= 2;
    const later = await import("./lib/later");
    return later.default(total, text.length, Card({ title: "Lethe", km: total }));
}

if (false as boolean) unused();
