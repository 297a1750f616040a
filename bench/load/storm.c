/* The modes without messages of their own: idle holds the sockets; storm resets them all and has them come back. */
#include "load.h"

int storming;
u64 storm_began;

void hold_idle(void) {
    begin_phase(0);
    run_until(phase[0].begin + (u64)(options.seconds * 1e9));
    end_phase(0);
}

void make_storm(void) {
    begin_phase(0);
    storming = 1;
    storm_began = phase[0].begin;
    u64 closed = counts.closes;                                /* before: those come back too */
    reset_all();
    while (live_count + counts.closes - closed < (u64)client_count) {
        round_of(100);
        if (now_ns() - storm_began > (u64)(options.patience * 1e9))
            fail("only %llu of %d sockets were back after %g s", live_count, client_count, options.patience);
    }
    end_phase(0);
    u64 last = now_ns() + 200000000u;                          /* what comes twice, or late, comes now */
    while (now_ns() < last) round_of(20);
}
