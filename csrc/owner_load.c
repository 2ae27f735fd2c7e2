/* One thread's work and one thread's sleep, without Python, which would measure itself. */
#include "owner_load.h"

#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)
#define LONGEST (3600 * SECOND) /* nobody waits longer for a measurement, and nothing below overflows */

enum { ROUNDS = 4096 }; /* of xorshift: some 10 µs, so that reading the clock is frequent but cheap */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static int sleep_until(uint64_t moment)
{
    struct timespec until = {(time_t)(moment / SECOND), (long)(moment % SECOND)};
    int error;
    do
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    while (error == EINTR);
    return -error;
}

static int check(uint64_t start, uint64_t step, size_t n)
{
    if (step == 0 || n == 0 || step > LONGEST || n > LONGEST / step)
        return -EINVAL;
    return start > clock_ns(CLOCK_MONOTONIC) + LONGEST ? -EINVAL : 0;
}

static uint64_t piece_of_work(uint64_t x)
{
    for (int i = 0; i < ROUNDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

int plancton_spin(uint64_t start, uint64_t step, uint64_t *cpu, size_t n, uint64_t *work)
{
    int error = check(start, step, n);
    if (error == 0)
        error = sleep_until(start);
    if (error)
        return error;
    volatile uint64_t seen = 1; /* or the compiler would see that nobody uses the result */
    uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID), pieces = 0;
    for (size_t i = 0; i < n;) {
        seen = piece_of_work(seen);
        pieces++;
        uint64_t past = clock_ns(CLOCK_MONOTONIC) - start;
        if (past < (i + 1) * step)
            continue;
        /* In steps that passed meanwhile this thread had no CPU: its total is that of the last one. */
        uint64_t had = clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
        while (i < n && past >= (i + 1) * step)
            cpu[i++] = had;
    }
    *work = pieces;
    return 0;
}

int plancton_wake(uint64_t start, uint64_t step, uint64_t *late, size_t n)
{
    int error = check(start, step, n);
    if (error)
        return error;
    /* By default the kernel may let a thread sleep 50 µs longer, to wake several at once. */
    int slack = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, 1UL);
    for (size_t i = 0; i < n && !error; i++) {
        uint64_t moment = start + (i + 1) * step;
        error = sleep_until(moment);
        late[i] = clock_ns(CLOCK_MONOTONIC) - moment;
    }
    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
    return error;
}
