// SPDX-License-Identifier: BSD-2-Clause
// Nothing of this belongs into the bundle.
export function unused(): never {
    throw new Error("this must not be there");
}
