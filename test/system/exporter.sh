# SPDX-License-Identifier: BSD-2-Clause
# prometheus node_exporter in a guest: what a scrape tells is true of the guest, and 500 of them on four processors do it no harm.
. "$here/serve.sh"

# figure NAME{LABELS}: its value in the scrape $work/metrics, as a whole number
figure() { awk -v name="$1" '$1 == name { printf "%.0f", $2; exit }' "$work/metrics"; }
# true_figure NAME LEAST MOST
true_figure() {
    value=$(figure "$1")
    if [ -n "$value" ] && [ "$value" -ge "$2" ] && [ "$value" -le "$3" ]; then pass; else fail "exporter: $1 is '$value', want $2 to $3"; fi
}

if ! make -s "$examples/node-exporter" >"$work/held" 2>&1; then
    skipped=$((skipped + 1))
    echo "SKIP system/exporter: the module of node_exporter cannot be had: $(grep -v '^make' "$work/held" | tail -n 1)"
else
    name=exporter/serve
    free_port
    if serve 'Listening on' -m 512m --smp 4 -p "$port:9100" "$examples/node-exporter"; then
        url="http://127.0.0.1:$port/metrics"
        for collector in arp cpu filefd filesystem loadavg meminfo netclass netdev netstat sockstat softnet stat time udp_queues uname vmstat; do
            [ -s "$work/metrics" ] || curl -s -m 60 -o "$work/metrics" "$url"
            grep -q "^node_scrape_collector_success{collector=\"$collector\"} 1" "$work/metrics" && pass || fail "exporter: the collector $collector has no success"
        done
        true_figure node_memory_MemTotal_bytes 470000000 536870912
        true_figure node_memory_MemFree_bytes 200000000 "$(figure node_memory_MemTotal_bytes)"
        true_figure 'node_network_mtu_bytes{device="eth0"}' 1500 1500
        true_figure 'node_network_up{device="eth0"}' 1 1
        true_figure node_netstat_Tcp_CurrEstab 1 100
        [ "$(grep -c '^node_cpu_seconds_total{.*mode="idle"}' "$work/metrics")" -eq 4 ] && pass || fail 'exporter: not four processors'
        received=$(figure 'node_network_receive_bytes_total{device="eth0"}')
        sent=$(figure 'node_network_transmit_bytes_total{device="eth0"}')
        timeout -k 5 140 curl -s "$url?[1-500]" >"$work/all"
        found=$(grep -c '^node_memory_MemTotal_bytes ' "$work/all")
        [ "$found" -eq 500 ] && pass || fail "exporter: $found of 500 scrapes were answered"
        curl -s -m 60 -o "$work/metrics" "$url"
        # What the host has got is what the guest has sent, with headers and acknowledgements.
        bytes=$(wc -c <"$work/all")
        true_figure 'node_network_transmit_bytes_total{device="eth0"}' $((sent + bytes)) $((sent + bytes * 12 / 10 + 2000000))
        true_figure 'node_network_receive_bytes_total{device="eth0"}' $((received + 500 * 60)) $((received + bytes))
        rm -f "$work/all" "$work/metrics"
        stop
    fi
fi
