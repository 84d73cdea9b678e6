#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Package: Linux 6.18 (the running kernel); built with Debian's gcc 12.2.0-14+deb12u1.
#
# A send with MSG_DONTWAIT on a TCP socket with room can put its thread to sleep: sending and
# receiving take one lock of the socket, and who finds it taken waits, whatever the flags. While one
# thread receives without a pause, of 200,000 sends of 16 bytes on the same socket some cause a
# voluntary context switch of their thread. On a socket on which nobody receives, none does.
#
# Seen 2026-12-01, three times:
#   alone: 200000 of 200000 sent, 0 sends slept
#   beside a receiver: 200000 of 200000 sent, 5669 (441, 3502) sends slept
#
# Prints what it sees; exit code 1 if no send sleeps beside a receiver any more.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/lock.c" <<'C'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_bool over;

static void *drain(void *context)
{
    static _Thread_local char bytes[1 << 16];
    while (!atomic_load(&over)) {
        if (recv(*(int *)context, bytes, sizeof(bytes), 0) <= 0) {
            break;
        }
    }
    return NULL;
}

static void *fill(void *context)
{
    static _Thread_local char bytes[1 << 16];
    while (!atomic_load(&over)) {
        if (send(*(int *)context, bytes, sizeof(bytes), MSG_NOSIGNAL) <= 0) {
            break;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int beside = argc > 1 && atoi(argv[1]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int ours = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &len) ||
        connect(ours, (struct sockaddr *)&address, len)) {
        return 2;
    }
    int theirs = accept(listener, NULL, NULL);
    pthread_t threads[3];
    pthread_create(&threads[0], NULL, drain, &theirs);
    if (beside) {
        pthread_create(&threads[1], NULL, fill, &theirs);
        pthread_create(&threads[2], NULL, drain, &ours);
    }
    struct rusage before, after;
    long sent = 0;
    getrusage(RUSAGE_THREAD, &before);
    for (int i = 0; i < 200000; i++) {
        sent += send(ours, "0123456789abcdef", 16, MSG_DONTWAIT | MSG_NOSIGNAL) == 16;
    }
    getrusage(RUSAGE_THREAD, &after);
    printf("%ld\n", after.ru_nvcsw - before.ru_nvcsw);
    fprintf(stderr, "%s: %ld of 200000 sent, %ld sends slept\n",
            beside ? "beside a receiver" : "alone", sent, after.ru_nvcsw - before.ru_nvcsw);
    fflush(stdout);
    atomic_store(&over, 1);
    _exit(0);
}
C
gcc -O2 -pthread -o "$work/lock" "$work/lock.c"
alone=$("$work/lock" 0)
beside=$("$work/lock" 1)
[ "$beside" -gt 0 ] && [ "$beside" -gt "$alone" ]
