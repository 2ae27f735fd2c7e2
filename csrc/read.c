/* Descriptors to text. The descriptors belong to the caller: nothing here opens or closes one. */
#include "sampler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST = 32 * 1024,      /* holds every text except the /proc/stat of some hundred CPUs */
    MOST = 8 * 1024 * 1024, /* cpu lines of 80,000 CPUs: anything longer is not /proc/stat */
};

/* Appends the result of one pread to the `have` bytes already there. */
static ssize_t append(int fd, char *text, size_t have, size_t size)
{
    ssize_t got;
    do
        got = pread(fd, text + have, size - have, (off_t)have);
    while (got < 0 && errno == EINTR);
    return got;
}

/* The kernel produces these texts whole in one read, and all of them fit. */
static void sample_small(int fd, uint8_t kind, struct plancton_reading *out, char *text)
{
    ssize_t got = append(fd, text, 0, FIRST);
    if (got <= 0)
        out->error = got < 0 ? -errno : -ENODATA;
    else
        plancton_parse(kind, text, (size_t)got, out);
}

/* Reads until past the cpu lines. A read that continues where the last one ended gets the rest of the
 * same text (seq_file keeps it), so all figures are from one moment and are produced once. */
static int fill_stat(int fd, char **text, size_t *have, char **heap)
{
    size_t size = FIRST;
    for (;;) {
        ssize_t got = append(fd, *text, *have, size);
        if (got < 0)
            return -errno;
        *have += (size_t)got;
        if (got == 0 || plancton_stat_suffices(*text, *have))
            return *have ? 0 : -ENODATA;
        if (*have < size)
            continue;
        if (size >= MOST)
            return -EFBIG;
        char *more = realloc(*heap, size * 4);
        if (!more)
            return -ENOMEM;
        if (!*heap)
            memcpy(more, *text, *have);
        *text = *heap = more;
        size *= 4;
    }
}

static void sample_stat(int fd, struct plancton_reading *out, char *text, const uint8_t *counted, uint32_t cpus)
{
    char *heap = NULL;
    size_t have = 0;
    out->error = fill_stat(fd, &text, &have, &heap);
    if (out->error == 0 && cpus)
        plancton_parse_cpus(text, have, counted, cpus, out);
    else if (out->error == 0)
        plancton_parse(PLANCTON_STAT, text, have, out);
    free(heap);
}

int plancton_sample(const int *fds, const uint8_t *kinds, struct plancton_reading *out, int n, const uint8_t *counted,
                    uint32_t cpus)
{
    char text[FIRST];
    int failed = 0;
    for (int i = 0; i < n; i++) {
        if (fds[i] < 0)
            out[i].error = -EBADF;
        else if (kinds[i] == PLANCTON_STAT)
            sample_stat(fds[i], &out[i], text, counted, cpus);
        else
            sample_small(fds[i], kinds[i], &out[i], text);
        failed += out[i].error != 0;
    }
    return failed;
}
