#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# fuzz_elf.pl ROUNDS ELF COPY COMMAND...: damages the headers of a copy of ELF in ROUNDS ways (a fixed sequence) and runs
# COMMAND on each; its status must be 0, or 2 with one line on standard error. FUZZ_AT=OFFSET,LENGTH names other bytes.
use strict;
use warnings;

my ($rounds, $elf, $copy, @command) = @ARGV;
open my $in, '<:raw', $elf or die "$elf: $!\n";
my $original = do { local $/; <$in> };
my @interesting = (0, 1, 2, 0x7f, 0x80, 0xfe, 0xff);
my $state = 12345;
my ($start, $length) = split /,/, $ENV{FUZZ_AT} // '0,512';

sub random {    # of a fixed sequence, so that a failure can be repeated
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $_[0];
}

for my $round (1 .. $rounds) {
    my $bytes = $original;
    $bytes = substr $bytes, 0, random(1024) if random(8) == 0;
    for (0 .. random(6)) {
        my $at = $start + random($length);
        next if $at >= length $bytes;
        substr($bytes, $at, 1) = chr(random(2) ? $interesting[random(scalar @interesting)] : random(256));
    }
    open my $out, '>:raw', $copy or die "$copy: $!\n";
    print $out $bytes;
    close $out;
    my $errors = `@command 2>&1 >/dev/null </dev/null`;
    my $status = $? >> 8;
    my $lines = () = $errors =~ /\n/g;
    next if !($? & 127) && ($status == 0 || $status == 2 && $lines == 1);
    die "round $round: status $status: " . substr($errors, 0, 200) . "\n";
}
