#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Criterion 2.4.1 (Debian 12: libcriterion-dev, libcriterion3 2.4.1-2).
#
# An assertion that fails in a test's `.fini` is printed, and fails nothing: the test passes, the
# closing line counts no failure, the program exits with 0. The same assertion at the end of the
# test's body fails it. Whoever checks in `.fini` what a test must leave behind (no descriptor open,
# nothing in use) has a check that cannot turn a run red.
#
# Seen 2026-12-01:
#   in the body:  exit 1, Tested: 1 | Passing: 0 | Failing: 1 | Crashing: 0
#   in .fini:     exit 0, Tested: 1 | Passing: 1 | Failing: 0 | Crashing: 0, and "Assertion Failed"
#
# Needs a C compiler. Prints what it sees; exit code 1 if that is not so any more.
set -euo pipefail

version=2.4.1-2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

for package in "libcriterion-dev=$version" "libcriterion3=$version" libboxfort-dev libgit2-1.5 \
    libhttp-parser2.9 libmbedtls14 libmbedx509-1 libmbedcrypto7 libssh2-1 libnanomsg5 libffi8; do
    apt-get download "$package" >/dev/null 2>&1 ||
        { echo "$package cannot be had from apt" >&2; exit 1; }
done
for package in *.deb; do
    dpkg-deb -x "$package" .
done
lib=$folder/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)

cat >test.c <<'END'
#include <criterion/criterion.h>
static void tidy(void)
{
#ifdef IN_FINI
    cr_assert_eq(1, 2, "it is left behind");
#endif
}
Test(suite, fact, .fini = tidy)
{
#ifndef IN_FINI
    cr_assert_eq(1, 2, "it is left behind");
#endif
}
END
export LD_LIBRARY_PATH=$lib
for where in BODY FINI; do
    gcc -DIN_$where -Iusr/include test.c -o "test.$where" -L"$lib" -Wl,-rpath-link,"$lib" \
        -lcriterion
done

failed=0
# run WHERE TEXT CODE: run a program; its exit code and closing line.
run() {
    local code=0 closing printed
    "./test.$1" >"$1.log" 2>&1 || code=$?
    closing=$(sed -n 's/.*Synthesis: //p' "$1.log" | sed 's/ *$//')
    printed=$(grep -c 'Assertion Failed' "$1.log" || true)
    printf '%-14sexit %d, %s, "Assertion Failed" %d times\n' "$2" "$code" "$closing" "$printed"
    [ "$code" -eq "$3" ] && [ "$printed" -eq 1 ] || failed=1
}
run BODY "in the body:" 1
run FINI "in .fini:" 0
exit $failed
