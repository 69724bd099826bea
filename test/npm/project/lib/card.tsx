// SPDX-License-Identifier: BSD-2-Clause
/** @jsx element */
function element(type: unknown, props: object | null, ...children: unknown[]) {
    return { type, props: { ...props }, children };
}

export const Card = ({ title, km }: { title: string; km: number }) => (
    <article km={km} className="card">
        <h1>{title}</h1>
        <p>It runs for {km} km &amp; more.</p>
    </article>
);
