# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced by the other scripts: the Debian packages that each of them needs, and their installation.
# All are in Debian 12, 13 and sid.

# What building the library and the command needs.
ROULETTE_BUILD_PACKAGES=(
    gcc libc6-dev cmake ninja-build pkgconf
    liburing-dev libck-dev libxxhash-dev libssl-dev libjansson-dev
)
# What tools/demo and the tests talk to.
ROULETTE_SERVER_PACKAGES=(nats-server)
# The peer in bench/.
ROULETTE_BENCH_PACKAGES=(libnats-dev)
# What tests need besides: libcriterion runs them, and the header is compiled as C++ too.
ROULETTE_TEST_PACKAGES=(g++ libcriterion-dev python3 haproxy clang-format-19)
# What the other compiler, ThreadSanitizer, libFuzzer and tidy_check need.
ROULETTE_CLANG_PACKAGES=(clang libclang-rt-dev llvm clang-tidy-19)

# roulette_install_packages PACKAGE...: install those that are missing. Does nothing if all are there.
roulette_install_packages() {
    local package sudo=() missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    echo "== installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo)
        if ! command -v sudo >/dev/null; then
            echo "you are not root, and there is no sudo; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
    fi
    "${sudo[@]}" apt-get update -qq || return 1
    # The services that nats-server and haproxy bring are not used, nor are their ports.
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
