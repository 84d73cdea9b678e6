# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced by the other scripts: the Debian 12 packages that the project needs, and their
# installation. Does nothing if all are there.

ROULETTE_PACKAGES=(
    build-essential cmake ninja-build pkg-config python3
    clang clang-format libclang-rt-14-dev llvm
    liburing-dev libxxhash-dev libssl-dev libjansson-dev
    libcriterion-dev nats-server haproxy
    libnats-dev # the peer in bench/, which is built with everything else
)

roulette_install_packages() {
    local package sudo=() missing=()
    for package in "${ROULETTE_PACKAGES[@]}"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    echo "== installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    # The services that nats-server and haproxy bring are not used, nor are their ports.
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
