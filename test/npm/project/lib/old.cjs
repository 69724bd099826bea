// SPDX-License-Identifier: BSD-2-Clause
exports.sum = function () {
    return Array.prototype.reduce.call(arguments, function (a, b) { return a + b; }, 0);
};
