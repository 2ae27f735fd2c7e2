/* Feeds mutated texts to the parsers, and a /proc/stat too large for its first buffer to the reader.
 *
 * Each text is in an allocation of exactly its length, so that a sanitizer or valgrind sees any read
 * beyond it. Usage: fuzz_parse [rounds [seed [file…]]]: the texts in files are mutated as well, each cut to
 * LARGEST. scripts/check-c builds and runs it.
 */
#include "sampler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KINDS = PLANCTON_ARC + 1, LARGEST = 4096, MOST_FILES = 64 };

static const char *const SEEDS[] = {
    "cpu  90296 12 3672 117167 351 7 75 22 5 3\ncpu0 38006 0 1368 66275 93 0 9 7 0 0\n"
    "cpu1 52290 12 2304 50892 258 7 66 15 5 3\nintr 623584 0 0 14\nctxt 1\nbtime 1\n",
    "MemTotal:       24684092 kB\nMemFree:        24311908 kB\nMemAvailable:   24291272 kB\n"
    "SwapCached:            0 kB\nSwapTotal:       1048576 kB\nSwapFree:        1048576 kB\n",
    "usage_usec 956022770\nuser_usec 918321197\nsystem_usec 37701572\nnice_usec 0\n",
    "cache 9203712\nrss 6230016\nrss_huge 0\ntotal_cache 5\ntotal_rss 48308224\ntotal_rss_huge 0\ntotal_shmem 8192\n",
    "12517 (a) R 1 (b) S 12504 12504 11361 0 -1 4194304 97 0 0 0 30 12 0 0 20 0 1 0 107742 3133440 379\n",
    "13 1 0x01 123 33456 4123456789 98765432109876\nname type data\nhits 4 1838274911\nc 4 16812220416\n"
    "c_min                           4    1050827776\nsize                            4    16790327296\nl2 4 0\n",
    "anon 4096\nfile 8192\nkernel 77\nshmem 512\n",
    "cpu 18446744073709551615 18446744073709551616 99999999999999999999999 -1\ncpu0\n\n\ncpu",
    "cpu  0 0 0 0 0 0 0 0 0 0\ncpu  57589 20 24452 2480547 5183 0 636 0 0 0\ncpu0 1 2 3 4 5 6 7 8\nintr 1\n",
    "cpu  57589 20 24452 2480547 5183 0 636 0 0 0\ncpu0 1 2 3 4 5 6 7 8\ncpufreq 12\nctxt 1\n",
};
enum { COUNT = sizeof SEEDS / sizeof SEEDS[0] };

struct text {
    char data[LARGEST];
    size_t length;
};
static struct text files[MOST_FILES];
static size_t file_count;

static uint64_t state;

static size_t below(size_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit ? (size_t)(state % limit) : 0;
}

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_parse: %s\n", what);
    exit(1);
}

/* Changes, cuts, repeats or removes a piece; returns the new length. */
static size_t mutate(char *text, size_t length)
{
    static const char SPICE[] = "0123456789 \n)(-:=ncpu\0\377";
    size_t at = below(length), piece = below(length - at < 64 ? length - at : 64);
    switch (below(5)) {
    case 0: return below(length + 1);
    case 1: memmove(text + at, text + at + piece, length - at - piece); return length - piece;
    case 2:
        if (length + piece > LARGEST)
            return length;
        memmove(text + at + piece, text + at, length - at);
        return length + piece;
    case 3: memset(text + at, SPICE[below(sizeof SPICE)], piece); return length;
    default:
        if (length)
            text[at] = SPICE[below(sizeof SPICE)];
        return length;
    }
}

static void parse_all(const char *text, size_t length)
{
    char *exact = malloc(length);
    if (!exact)
        abort();
    memcpy(exact, text, length);
    for (uint8_t kind = 0; kind <= KINDS; kind++) { /* one more than exist */
        struct plancton_reading out = {0};
        plancton_parse(kind, exact, length, &out);
        must(out.error == 0 || out.error == -EBADMSG, "an error that is not EBADMSG");
        must(out.error != 0 || kind < KINDS, "an unknown kind was parsed");
        if (kind == PLANCTON_STAT && out.error == 0)
            must(plancton_stat_suffices(exact, length), "parsed what does not suffice");
    }
    static const uint8_t counted[] = {1, 0, 1};
    struct plancton_reading out = {0};
    plancton_parse_cpus(exact, length, counted, sizeof counted, &out);
    must(out.error == -EBADMSG || (out.error == 0 && out.value[0] > 0), "CPUs from a text that has none");
    free(exact);
}

static void fuzz(size_t rounds)
{
    char text[LARGEST];
    for (size_t i = 0; i < rounds; i++) {
        size_t which = below(COUNT + file_count);
        const char *seed = which < COUNT ? SEEDS[which] : files[which - COUNT].data;
        size_t length = which < COUNT ? strlen(seed) : files[which - COUNT].length;
        memcpy(text, seed, length);
        for (size_t n = below(6); n > 0; n--)
            length = mutate(text, length);
        parse_all(text, length);
    }
}

/* Each kind's seed parses as a whole, and no truncated seed yields a truncated number. */
static void parse_seeds(void)
{
    for (uint8_t kind = 0; kind < KINDS; kind++) {
        struct plancton_reading whole = {0};
        plancton_parse(kind, SEEDS[kind], strlen(SEEDS[kind]), &whole);
        must(whole.error == 0, "a good text was refused");
        for (size_t length = 0; length < strlen(SEEDS[kind]); length++) {
            struct plancton_reading cut = {0};
            plancton_parse(kind, SEEDS[kind], length, &cut);
            must(cut.error != 0 || cut.value[0] == whole.value[0], "a cut text gave another number");
            parse_all(SEEDS[kind], length);
        }
    }
}

static void add_file(const char *path)
{
    must(file_count < MOST_FILES, "too many files");
    FILE *file = fopen(path, "r");
    must(file != NULL, "can't open a file");
    struct text *text = &files[file_count++];
    text->length = fread(text->data, 1, LARGEST, file);
    must(!ferror(file), "can't read a file");
    fclose(file);
}

static int file_of_cpus(int cpus, const char *rest)
{
    int fd = memfd_create("stat", 0);
    FILE *file = fd < 0 ? NULL : fdopen(dup(fd), "w");
    must(file != NULL, "no memory file");
    fputs("cpu  1 2 3 4 5 6 7 8 9 10\n", file);
    for (int i = 0; i < cpus; i++)
        fprintf(file, "cpu%d 1234567890 2 3 4 5 6 7 8 9 10\n", i);
    fputs(rest, file);
    must(fclose(file) == 0, "can't write a memory file");
    return fd;
}

static void read_large(int cpus, const char *rest, int32_t error)
{
    int fds[] = {file_of_cpus(cpus, rest), -1};
    uint8_t kinds[] = {PLANCTON_STAT, PLANCTON_MEMINFO};
    struct plancton_reading out[2];
    must(plancton_sample(fds, kinds, out, 2, NULL, 0) == (error ? 2 : 1), "a wrong count of failures");
    must(out[0].error == error, "a large /proc/stat: not the error that was expected");
    must(error || out[0].value[0] == (uint64_t)cpus, "a large /proc/stat: CPUs miscounted");
    must(out[1].error == -EBADF, "a closed descriptor was read");
    close(fds[0]);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    must(state != 0, "the seed must not be 0");
    for (int i = 3; i < argc; i++)
        add_file(argv[i]);
    parse_seeds();
    for (int cpus = 1; cpus < 40000; cpus = cpus * 3 + 1)
        read_large(cpus, "intr 1 2 3\n", 0);
    read_large(500, "", -EBADMSG);
    read_large(300000, "intr 1\n", -EFBIG);
    fuzz(rounds);
    printf("fuzz_parse: %zu rounds, %zu texts\n", rounds, COUNT + file_count);
    return 0;
}
