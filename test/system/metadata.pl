#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The metadata services of cloud providers, one request: on standard input and output, as QEMU's guestfwd starts it for each connection. Answers only
# what the real services answer: with their header or token, and by their paths. LOG gets the first lines of requests.
use strict;
use warnings;
my ($log) = @ARGV;
$| = 1;
my ($request, %header) = (scalar <STDIN> // '');
while (defined(my $line = <STDIN>)) { last if $line =~ /^\r?$/; $header{lc $1} = $2 if $line =~ /^([^:]+):\s*(.*?)\r?$/; }
open my $f, '>>', $log or die;
print $f $request;
close $f;
my ($method, $path) = split ' ', $request;
my %answers = (
    'GET /latest/meta-data/local-hostname' => ['x-aws-ec2-metadata-token', 'T0KEN==', "ip-10-0-0-7.ec2.internal"],
    'GET /latest/user-data' => ['x-aws-ec2-metadata-token', 'T0KEN==', "# of the test\nCLOUD=ec2 a=b\n\nOWN=theirs\r\n"],
    'PUT /latest/api/token' => ['x-aws-ec2-metadata-token-ttl-seconds', '60', 'T0KEN=='],
    'GET /computeMetadata/v1/instance/hostname' => ['metadata-flavor', 'Google', "vm-1.c.project.internal\n"],
    'GET /computeMetadata/v1/instance/attributes/user-data' => ['metadata-flavor', 'Google', "CLOUD=gcp"],
    'GET /metadata/instance/compute/name?api-version=2021-02-01&format=text' => ['metadata', 'true', "azure-vm"],
    'GET /metadata/instance/compute/userData?api-version=2021-02-01&format=text' => ['metadata', 'true', "Q0xPVUQ9YXp1cmUKTU9SRT0xCg=="],
    'GET /metadata/v1/hostname' => ['host', '169.254.169.254', "droplet"],
    'GET /metadata/v1/user-data' => ['host', '169.254.169.254', "#!/bin/sh\nreboot\n"],
    'GET /hetzner/v1/metadata/hostname' => ['host', '169.254.169.254', "bad_name!"],
);
my $answer = $answers{"$method $path"};
my ($status, $body) = ('404 Not Found', 'none');
($status, $body) = ($header{$answer->[0]} // '') eq $answer->[1] ? ('200 OK', $answer->[2]) : ('401 Unauthorized', 'no') if $answer;
print "HTTP/1.0 $status\r\nContent-Length: ", length $body, "\r\n\r\n$body";
