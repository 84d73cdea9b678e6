/* SPDX-License-Identifier: MIT */
#include "harness/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "harness/stop.h"

static double resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1) {
        stop("/proc/self/statm cannot be read");
    }
    (void)fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

struct process_memory process_memory(void)
{
    struct mallinfo2 heap = mallinfo2();
    return (struct process_memory){
        .rss = resident_bytes(),
        .heap = (double)heap.uordblks + (double)heap.hblkhd,
    };
}

/* Voluntary context switches of a thread; 0 if it has just ended. */
static uint64_t switches_of(const char *thread)
{
    char path[64];
    char line[128];
    uint64_t switches = 0;
    (void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", thread);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &switches) == 1) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return switches;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct process_activity process_activity(void)
{
    struct process_activity activity = {0};
    double own_seconds = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    activity.cpu_seconds = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - own_seconds;
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) {
        stop("/proc/self/task cannot be read");
    }
    struct dirent *entry;
    while ((entry = readdir(threads)) != NULL) {
        long thread = strtol(entry->d_name, NULL, 10);
        if (thread != 0 && thread != getpid()) {
            activity.threads++;
            activity.wakeups += switches_of(entry->d_name);
        }
    }
    (void)closedir(threads);
    return activity;
}
