/* An owner's load, and a probe of how soon it is served: `plancton selftest` measures with them. */
#ifndef PLANCTON_LOAD_H
#define PLANCTON_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* Works on one CPU for n steps of `step` ns each, beginning at `start` (CLOCK_MONOTONIC, ns), or now if
 * that has passed. cpu[i] becomes the CPU time, in ns, that this thread had received by the end of step i;
 * *work counts pieces of work, all of the same size. Returns 0 or a negative errno. */
int plancton_spin(uint64_t start, uint64_t step, uint64_t *cpu, size_t n, uint64_t *work);

/* Sleeps until `start` + step, `start` + 2 * step and so on; late[i] is how many ns too long each sleep
 * was. Returns 0 or a negative errno. */
int plancton_wake(uint64_t start, uint64_t step, uint64_t *late, size_t n);

#endif
