/* What Plancton asks the kernel each tick: texts from /proc and cgroups, as numbers.
 *
 * read.c turns descriptors into text, parse.c turns text into numbers; each does its half only.
 */
#ifndef PLANCTON_SAMPLER_H
#define PLANCTON_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h> /* for csrc/build.py */

#define PLANCTON_VALUES 9
#define PLANCTON_UNKNOWN UINT64_MAX

/* The kinds of text, and the order of their numbers in `value`. */
enum plancton_kind {
    PLANCTON_STAT,        /* /proc/stat: CPUs online; user nice system idle iowait irq softirq steal, in ticks */
    PLANCTON_MEMINFO,     /* /proc/meminfo: MemTotal, MemAvailable (or PLANCTON_UNKNOWN), SwapTotal, in bytes */
    PLANCTON_CPU_STAT,    /* a v2 cpu.stat: usage, in microseconds */
    PLANCTON_MEMORY_STAT, /* a memory.stat: anon + shmem (v1: total_rss + total_shmem), in bytes */
    PLANCTON_PID_STAT,    /* /proc/PID/stat: utime + stime in ticks, starttime in ticks since boot, ppid */
    PLANCTON_ARC,         /* OpenZFS's arcstats: size, c_min, in bytes */
};

struct plancton_reading {
    int32_t error; /* 0, or a negative errno; `value` is then undefined */
    uint64_t value[PLANCTON_VALUES];
};

/* Reads and parses n descriptors from the beginning; a negative one is EBADF, an empty text ENODATA. Returns
 * how many failed. With `cpus`, /proc/stat is the sum of those lines cpuN for which N < cpus and counted[N] is
 * not 0. */
int plancton_sample(const int *fds, const uint8_t *kinds, struct plancton_reading *out, int n, const uint8_t *counted,
                    uint32_t cpus);

/* Parses one text, which need not end in a NUL. A text that is cut off, malformed,
 * contradicts itself or overflows is EBADMSG. */
void plancton_parse(uint8_t kind, const char *text, size_t length, struct plancton_reading *out);

/* Parses a /proc/stat as PLANCTON_STAT, but only of these CPUs (see plancton_sample). */
void plancton_parse_cpus(const char *text, size_t length, const uint8_t *counted, uint32_t cpus,
                         struct plancton_reading *out);

/* Whether what was read of /proc/stat goes beyond its cpu lines: the rest (interrupts) can be much longer. */
bool plancton_stat_suffices(const char *text, size_t length);

#endif
