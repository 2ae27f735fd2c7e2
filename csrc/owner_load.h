/* An owner's load, and a probe of how soon they are served: what `plancton selftest` measures with. */
#ifndef PLANCTON_LOAD_H
#define PLANCTON_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* Works on one CPU for n steps of `step` ns each, from the moment `start` (CLOCK_MONOTONIC, ns) on; one
 * that has passed is now. cpu[i] becomes the CPU time, in ns, that this thread had been given by the end
 * of step i; *work counts pieces of work, all of one size. Returns 0 or a negative errno. */
int plancton_spin(uint64_t start, uint64_t step, uint64_t *cpu, size_t n, uint64_t *work);

/* Sleeps until `start` + step, `start` + 2 * step and so on; late[i] is by how many ns each sleep was too
 * long. Returns 0 or a negative errno. */
int plancton_wake(uint64_t start, uint64_t step, uint64_t *late, size_t n);

#endif
