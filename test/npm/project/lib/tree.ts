// SPDX-License-Identifier: BSD-2-Clause
export type Visitor<T> = (value: T, depth: number) => void;
type Link<T> = { value: T; left?: Link<T>; right?: Link<T> };

export class Tree<T> {
    #root?: Link<T>;
    static made = 0;

    constructor(private readonly compare: (a: T, b: T) => number) {
        Tree.made++;
    }

    insert(value: T): this {
        this.#root = this.#put(this.#root, value);
        return this;
    }

    #put(link: Link<T> | undefined, value: T): Link<T> {
        if (!link) return { value };
        const order = this.compare(value, link.value);
        if (order < 0) link.left = this.#put(link.left, value);
        else if (order > 0) link.right = this.#put(link.right, value);
        return link;
    }

    walk(visit: Visitor<T>, link = this.#root, depth = 0): void {
        if (!link) return;
        this.walk(visit, link.left, depth + 1);
        visit(link.value, depth);
        this.walk(visit, link.right, depth + 1);
    }
}
