#!/bin/bash
# SPDX-License-Identifier: MIT
#
# nats-server 2.9.10 (Debian 12: nats-server 2.9.10-1+b3). Not so with 2.10.27 and 2.15.1: they cut
# the slow subscriber instead.
#
# One subscriber that stops reading holds back every publisher of what it subscribed to: the server
# reads nothing more from the publisher's connection, PINGs included, until the subscriber's
# write_deadline (10 s) has passed. It does so although max_pending is not exceeded, nothing is said
# to the publisher, and other connections are served at once all the while. So a client that takes
# unanswered PINGs for a dead server leaves a healthy one.
#
# Seen 2026-12-01, 64 MB in messages of 8 KiB, then a PING on the same connection:
#   nobody subscribes:            PONG in the 1st second
#   beside a reader that stops:   PONG in the 11th second
#   another connection meanwhile: PONG in the 1st second
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
echo "max_pending: 8MB" >server.conf
usr/sbin/nats-server -a 127.0.0.1 -p "$port" -c server.conf >server.log 2>&1 &
server=$!
for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done

hello='CONNECT {"verbose":false,"pedantic":false}'
payload=$(printf '%08192d' 0)
for _ in $(seq 8192); do
    printf 'PUB t 8192\r\n%s\r\n' "$payload"
done >messages

# await FD: the second, counted from $SECONDS=0, in which a PONG comes; 0: none in 30 s.
await() {
    local line
    while IFS= read -r -t 30 line <&"$1"; do
        if [ "$line" = $'PONG\r' ]; then
            echo $((SECONDS + 1))
            return
        fi
    done
    echo 0
}

failed=0
# tell TEXT SECOND LEAST MOST
tell() {
    printf '%-32sPONG in second %d\n' "$1" "$2"
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then failed=1; fi
}

# publish_and_ping: the second in which the PONG behind all messages comes.
publish_and_ping() {
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    SECONDS=0
    { printf '%s\r\n' "$hello"; cat messages; printf 'PING\r\n'; } >&4
    await 4
    exec 4>&-
}

tell "nobody subscribes:" "$(publish_and_ping)" 1 5
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf '%s\r\n' "$hello" "SUB t 1" >&3
publish_and_ping >held &
publisher=$!
sleep 3
exec 5<>"/dev/tcp/127.0.0.1/$port"
SECONDS=0
printf '%s\r\n' "$hello" PING >&5
tell "another connection meanwhile:" "$(await 5)" 1 2
wait "$publisher"
tell "beside a reader that stops:" "$(cat held)" 8 30
if [ "$failed" -ne 0 ]; then
    echo "it is not so any more"
fi
exit "$failed"
