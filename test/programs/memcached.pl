#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# memcached.pl PORT: sets, gets, increments and deletes, and asks how many of each there were.
use strict;
use warnings;
use IO::Socket::INET;

my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => shift, Timeout => 20) or die "cannot connect\n";

sub ask {
    my ($request, $lines) = @_;
    print $socket $request;
    return join '', map { scalar <$socket> // die "the connection ended\n" } 1 .. $lines;
}
sub expect {
    my ($request, $want) = @_;
    my $got = ask($request, scalar(() = $want =~ /\n/g));
    $got eq $want or die "wanted '$want', got '$got'\n";
}
for my $i (1 .. 300) {
    my $value = "value $i " x ($i % 40 + 1);
    expect("set key$i 5 0 " . length($value) . "\r\n$value\r\n", "STORED\r\n");
}
for my $i (1 .. 300) {
    my $value = "value $i " x ($i % 40 + 1);
    expect("get key$i\r\n", "VALUE key$i 5 " . length($value) . "\r\n$value\r\nEND\r\n");
}
expect("get none\r\n", "END\r\n");
expect("set n 0 0 2\r\n41\r\n", "STORED\r\n");
expect("incr n 1\r\n", "42\r\n");
expect("delete key7\r\n", "DELETED\r\n");
expect("delete key7\r\n", "NOT_FOUND\r\n");
print $socket "stats\r\n";
my %stats;
while (defined(my $line = <$socket>)) {
    last if $line =~ /^END/;
    $stats{$1} = $2 if $line =~ /^STAT (\S+) (\S+)/;
}
$stats{curr_items} == 300 && $stats{get_hits} == 300 && $stats{get_misses} == 1 && $stats{threads} == 4
    or die "statistics: $stats{curr_items} items, $stats{get_hits} hits, $stats{get_misses} misses\n";
