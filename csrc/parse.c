/* Text to numbers. Buffers only: nothing here reads, allocates or keeps state. */
#include "sampler.h"

#include <errno.h>
#include <string.h>

struct span {
    const char *at;
    const char *end;
};

static size_t left(const struct span *s)
{
    return (size_t)(s->end - s->at);
}

static bool starts_with(const struct span *s, const char *key)
{
    size_t length = strlen(key);
    return left(s) >= length && memcmp(s->at, key, length) == 0;
}

/* Move to the start of the next line; false if this one does not end. */
static bool next_line(struct span *s)
{
    const char *newline = left(s) ? memchr(s->at, '\n', left(s)) : NULL;
    s->at = newline ? newline + 1 : s->end;
    return newline != NULL;
}

/* Move just past `key` at the start of a line. */
static bool find_line(struct span *s, const char *key)
{
    while (!starts_with(s, key))
        if (!next_line(s))
            return false;
    s->at += strlen(key);
    return true;
}

static void skip_spaces(struct span *s)
{
    while (s->at < s->end && *s->at == ' ')
        s->at++;
}

/* An unsigned number. One at the very end may have been cut off, so it does not count. */
static bool number(struct span *s, uint64_t *out)
{
    skip_spaces(s);
    const char *first = s->at;
    uint64_t n = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        uint64_t digit = (uint64_t)(*s->at - '0');
        if (__builtin_mul_overflow(n, (uint64_t)10, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *out = n;
    return s->at > first && s->at < s->end;
}

static bool skip_words(struct span *s, int count)
{
    for (; count > 0; count--) {
        skip_spaces(s);
        while (s->at < s->end && *s->at != ' ')
            s->at++;
    }
    return s->at < s->end;
}

/* Whether this line is `cpuN `, one of the CPUs that are online: not `cpu `, nor `cpufreq `. */
static bool is_of_one_cpu(const struct span *s)
{
    size_t i = strlen("cpu"), length = left(s);
    if (!starts_with(s, "cpu"))
        return false;
    while (i < length && s->at[i] >= '0' && s->at[i] <= '9')
        i++;
    return i > strlen("cpu") && i < length && s->at[i] == ' ';
}

/* Past the lines that begin with cpu: how many are of one CPU, and how many of all (`cpu `).
 * False if the text ends before another line begins. */
static bool count_cpus(struct span *s, uint64_t *cpus, uint64_t *sums)
{
    *cpus = *sums = 0;
    while (starts_with(s, "cpu")) {
        *cpus += is_of_one_cpu(s);
        *sums += starts_with(s, "cpu ");
        if (!next_line(s))
            return false;
    }
    return left(s) >= strlen("cpu") || memcmp(s->at, "cpu", left(s)) != 0;
}

bool plancton_stat_suffices(const char *text, size_t length)
{
    struct span s = {text, text + length};
    uint64_t cpus, sums;
    return length > 0 && count_cpus(&s, &cpus, &sums);
}

/* With two lines `cpu ` there is no saying which one is true. */
static bool parse_stat(struct span *s, uint64_t *value)
{
    struct span all = *s;
    uint64_t sums;
    if (!starts_with(s, "cpu "))
        return false;
    s->at += strlen("cpu ");
    for (int i = 1; i <= 8; i++)
        if (!number(s, &value[i]))
            return false;
    return count_cpus(&all, &value[0], &sums) && sums == 1 && value[0] > 0;
}

static bool kilobytes(struct span s, const char *key, uint64_t *out)
{
    return find_line(&s, key) && number(&s, out) && !__builtin_mul_overflow(*out, (uint64_t)1024, out);
}

static bool has_line(struct span s, const char *key)
{
    return find_line(&s, key);
}

/* A host without any memory is none. */
static bool parse_meminfo(struct span *s, uint64_t *value)
{
    value[1] = PLANCTON_UNKNOWN;
    if (has_line(*s, "MemAvailable:") && !kilobytes(*s, "MemAvailable:", &value[1]))
        return false;
    return kilobytes(*s, "MemTotal:", &value[0]) && value[0] > 0 && kilobytes(*s, "SwapTotal:", &value[2]);
}

static bool parse_cpu_stat(struct span *s, uint64_t *value)
{
    return find_line(s, "usage_usec ") && number(s, value);
}

/* Memory that can't be reclaimed from its user: anonymous, in tmpfs, or shared. */
static bool parse_memory_stat(struct span *s, uint64_t *value)
{
    struct span v1 = *s, shared = *s;
    uint64_t more = 0;
    bool v2 = find_line(s, "anon ");
    if (!v2 && !find_line(&v1, "total_rss "))
        return false;
    if (!number(v2 ? s : &v1, value))
        return false;
    if (!find_line(&shared, v2 ? "shmem " : "total_shmem ") || !number(&shared, &more))
        return false;
    return !__builtin_add_overflow(*value, more, value);
}

/* The command's name, in parentheses, can contain anything; after the last ')' there is no other.
 * Counted from there: state 1, ppid 2, utime 12, stime 13, starttime 20 (proc(5) counts two more). */
static bool parse_pid_stat(struct span *s, uint64_t *value)
{
    uint64_t user, system;
    const char *name_end = left(s) ? memrchr(s->at, ')', left(s)) : NULL;
    if (!name_end)
        return false;
    s->at = name_end + 1;
    if (!skip_words(s, 1) || !number(s, &value[2]))
        return false;
    if (!skip_words(s, 9) || !number(s, &user) || !number(s, &system))
        return false;
    if (!skip_words(s, 6) || !number(s, &value[1]))
        return false;
    return !__builtin_add_overflow(user, system, &value[0]);
}

/* A line of a kstat: name, type, value. */
static bool kstat(struct span s, const char *name, uint64_t *out)
{
    uint64_t type;
    return find_line(&s, name) && number(&s, &type) && number(&s, out);
}

static bool parse_arc(struct span *s, uint64_t *value)
{
    return kstat(*s, "size ", &value[0]) && kstat(*s, "c_min ", &value[1]);
}

static bool parse(uint8_t kind, struct span *s, uint64_t *value)
{
    switch (kind) {
    case PLANCTON_STAT: return parse_stat(s, value);
    case PLANCTON_MEMINFO: return parse_meminfo(s, value);
    case PLANCTON_CPU_STAT: return parse_cpu_stat(s, value);
    case PLANCTON_MEMORY_STAT: return parse_memory_stat(s, value);
    case PLANCTON_PID_STAT: return parse_pid_stat(s, value);
    case PLANCTON_ARC: return parse_arc(s, value);
    default: return false;
    }
}

void plancton_parse(uint8_t kind, const char *text, size_t length, struct plancton_reading *out)
{
    struct span s = {text, text + length};
    out->error = parse(kind, &s, out->value) ? 0 : -EBADMSG;
}

/* Adds a line's eight numbers to value[1..8]. */
static bool add_line(struct span *s, uint64_t *value)
{
    uint64_t n;
    for (int i = 1; i <= 8; i++)
        if (!number(s, &n) || __builtin_add_overflow(value[i], n, &value[i]))
            return false;
    return true;
}

static bool sum_cpus(struct span *s, const uint8_t *counted, uint32_t cpus, uint64_t *value)
{
    uint64_t cpu;
    memset(value, 0, PLANCTON_VALUES * sizeof *value);
    for (; starts_with(s, "cpu"); next_line(s)) {
        s->at += strlen("cpu");
        if (left(s) == 0 || *s->at < '0' || *s->at > '9' || !number(s, &cpu) || cpu >= cpus || !counted[cpu])
            continue;
        if (!add_line(s, value))
            return false;
        value[0]++;
    }
    return value[0] > 0;
}

void plancton_parse_cpus(const char *text, size_t length, const uint8_t *counted, uint32_t cpus,
                         struct plancton_reading *out)
{
    struct span s = {text, text + length};
    plancton_parse(PLANCTON_STAT, text, length, out);
    if (out->error == 0 && !sum_cpus(&s, counted, cpus, out->value))
        out->error = -EBADMSG;
}
