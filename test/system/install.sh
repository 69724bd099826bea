# SPDX-License-Identifier: BSD-2-Clause
# What `make install` puts down runs from there, and everything that stands in `make help` is a target.
d=$work/install
holds install/make make -s install DESTDIR="$d" PREFIX=/opt/lethe
expect_output install/files 0 "bin/lethe
lib/lethe/x86_64/lethe-boot.bios
lib/lethe/x86_64/lethe-boot.efi
lib/lethe/x86_64/lethe-kernel
lib/lethe/x86_64/lethe-kernel-full
share/bash-completion/completions/lethe
share/man/man1/lethe.1
share/zsh/site-functions/_lethe" sh -c "cd '$d/opt/lethe' && find . -type f | sed 's,^./,,' | sort"
expect_output install/runs 0 'Hello, world, from Linux on x86_64' \
    sh -c "cd / && exec timeout 100 '$d/opt/lethe/bin/lethe' run --timeout 60 '$PWD/build/examples/c-hello'"
expect_output install/through_a_link 0 'Hello, world, from Linux on x86_64' \
    sh -c "ln -s '$d/opt/lethe/bin/lethe' '$d/lethe' && exec timeout 100 '$d/lethe' run --timeout 60 build/examples/c-hello"
holds install/help sh -c "make -s help | sed -n 's/^  \([a-z-]*\) .*/\1/p' | grep -v NAME | xargs make -n -s"
