#!/bin/bash
# SPDX-License-Identifier: MIT
#
# nats-server 2.9.10 (Debian 12: nats-server 2.9.10-1+b3); the same with 2.15.1-1 (Debian sid).
#
# A SUB with a sid that the connection has already is ignored: no -ERR, no second delivery, nothing
# counted. But once the connection has max_subscriptions, the same SUB is refused with -ERR 'maximum
# subscriptions exceeded', though it would add nothing, and though the subscription stays and goes on
# delivering: the server looks at the limit before it looks at the sid. So at the limit a SUB sent
# again does not tell whether the subscription exists. The line names neither sid nor subject.
#
# Seen 2026-11-30:
#   below the limit, sent again:  PONG
#   the third of two:             -ERR 'maximum subscriptions exceeded' | PONG
#   the first, sent again:        -ERR 'maximum subscriptions exceeded' | PONG
#   a message to the first:       MSG a 1 1 | x | PONG
#
# Prints what it sees; exit code 1 if that is not so any more.
set -euo pipefail

version=2.9.10-1+b3
folder=$(mktemp -d)
server=""
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

apt-get download "nats-server=$version" >/dev/null 2>&1 ||
    { echo "nats-server=$version cannot be had from apt" >&2; exit 1; }
dpkg-deb -x nats-server_*.deb .
port=$((20000 + $$ % 10000))
echo "max_subscriptions: 2" >server.conf
usr/sbin/nats-server -a 127.0.0.1 -p "$port" -c server.conf >server.log 2>&1 &
server=$!
for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done

exec 3<>"/dev/tcp/127.0.0.1/$port"
# ask LINE...: send the lines and a PING; what the server says up to the PONG, INFO left out.
ask() {
    local line answer=""
    printf '%s\r\n' "$@" PING >&3
    while IFS= read -r -t 10 line <&3; do
        line=${line%$'\r'}
        case $line in
            INFO*) continue ;;
            PONG) printf '%s' "${answer}PONG"; return ;;
        esac
        answer+="$line | "
    done
    printf '%s' "${answer}(nothing more)"
}

failed=0
# expect TEXT EXPECTED LINE...
expect() {
    local seen
    seen=$(ask "${@:3}")
    printf '%-30s%s\n' "$1" "$seen"
    [ "$seen" = "$2" ] || failed=1
}

refused="-ERR 'maximum subscriptions exceeded' | PONG"
expect "connect:" "PONG" 'CONNECT {"verbose":false,"pedantic":false}'
expect "the first of two:" "PONG" "SUB a 1"
expect "below the limit, sent again:" "PONG" "SUB a 1"
expect "the second of two:" "PONG" "SUB b 2"
expect "the third of two:" "$refused" "SUB c 3"
expect "the first, sent again:" "$refused" "SUB a 1"
expect "a message to the first:" "MSG a 1 1 | x | PONG" "PUB a 1" "x"
if [ "$failed" -ne 0 ]; then
    echo "it is not so any more"
fi
exit "$failed"
