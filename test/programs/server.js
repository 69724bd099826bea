// SPDX-License-Identifier: BSD-2-Clause
// An HTTP server that adds up the bytes it is sent, and ends when it is told to.
const http = require('http');
const server = http.createServer((request, response) => {
    if (request.url === '/quit') {
        response.end('bye', () => setTimeout(() => process.exit(5), 50));
        return;
    }
    let bytes = 0, sum = 0;
    request.on('data', chunk => { bytes += chunk.length; for (const b of chunk) sum += b; });
    request.on('end', () => response.end(JSON.stringify({ path: request.url, bytes, sum })));
});
server.listen(8080, () => console.log('listening'));
