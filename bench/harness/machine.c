/* SPDX-License-Identifier: MIT */
#include "harness/machine.h"

#include <nats/nats.h>
#include <roulette.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static void read_cpu(char *cpu, size_t size)
{
    char line[256];
    (void)snprintf(cpu, size, "unknown CPU");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *name = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && name != NULL) {
            (void)snprintf(cpu, size, "%.*s", (int)strcspn(name + 2, "\n"), name + 2);
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

void machine_describe(struct machine *machine)
{
    struct utsname name;
    cpu_set_t cores;
    read_cpu(machine->cpu, sizeof(machine->cpu));
    (void)uname(&name);
    (void)snprintf(machine->kernel, sizeof(machine->kernel), "%s %s %s", name.sysname, name.release,
                   name.machine);
    machine->cores = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 0;
    machine->load = 0;
    (void)getloadavg(&machine->load, 1);
    machine->compiler = BENCH_COMPILER;
    machine->flags = BENCH_FLAGS;
    machine->roulette = roulette_version();
    machine->libnats = NATS_VERSION_STRING;
    machine->before = NULL;
}
