/* The course of a run: signing in, waiting for the word, and the load of the modes ping, fanout, direct and beside. */
#include "load.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static u64 due, gap;                        /* fanout by the clock */

void sign_in(void) {
    u64 begin = now_ns(), told = begin, cpu = cpu_ns();
    for (long i = 0; i < options.connecting; i++) connect_next();
    while (live_count < (u64)client_count) {
        round_of(100);
        if (now_ns() - begin > (u64)(options.patience * 1e9))
            fail("only %llu of %d sockets were signed in after %g s", live_count, client_count, options.patience);
        if (now_ns() - told > 5000000000u) {
            told = now_ns();
            fprintf(stderr, "%llu of %d signed in\n", live_count, client_count);
        }
    }
    tell_ready((double)(now_ns() - begin) / 1e9, (double)(cpu_ns() - cpu) / 1e9);
}

void await_go(void) {
    char line[16];
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (;;) {                                                 /* pings of the server are answered meanwhile */
        ssize_t n = read(0, line, sizeof line);
        if (n > 0) return;
        if (n == 0) fail("nobody said go");
        round_of(5);
    }
}

void begin_phase(int number) {
    tell_phase("begin", number);
    phase[number].begin = now_ns(), phase[number].cpu_begin = cpu_ns();
    now_phase = number;
}

void end_phase(int number) {
    phase[number].end = now_ns(), phase[number].cpu_end = cpu_ns();
    now_phase = -1;
    tell_phase("end", number);
}

/* Run until *end*, sending what is due. */
void run_until(u64 end) {
    for (u64 now; (now = now_ns()) < end;) {
        if (gap && !stopping) {
            while (due <= now && clients[0].state == LIVE) send_message(&clients[0], due), due += gap;
            set_timer(due);
            flush_dirty();
        }
        u64 left = (end - now) / 1000000u + 1;
        round_of(left > 50 ? 50 : (int)left);
        if (!live_count) fail("all sockets are closed; the first: %s", counts.first_close);
    }
}

/* beside: the phases are as long as whoever asked says. */
void keep_beat(void) {
    gap = (u64)(1e9 / options.rate);
    due = now_ns() + gap;
    for (char word = 0; word != 's';) {
        run_until(now_ns() + 5000000u);
        ssize_t n = read(0, &word, 1);
        if (!n) fail("nobody said stop");
        if (n < 0) continue;
        if (word == 'b') memset(&phase[0], 0, sizeof phase[0]), begin_phase(0);
        if (word == 'e') end_phase(0), tell_stretch();
    }
    options.phases = 0;
    stopping = 1;
    u64 last = now_ns() + (u64)(options.drain * 1e9);
    while (now_ns() < last && in_flight()) round_of(20);
}

static void start_commands(void) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        int author = options.mode == FANOUT ? i == 0 : c->role == 'a';
        for (long k = 0; k < options.flight; k++) {
            if (options.mode == PING) send_ping(c);
            else if (author) send_message(c, now_ns());
        }
    }
    flush_dirty();
}

void make_load(void) {
    if (options.rate > 0) {
        gap = (u64)(1e9 / options.rate);
        due = now_ns() + gap;
    } else start_commands();
    run_until(now_ns() + (u64)(options.warmup * 1e9));
    for (int i = 0; i < options.phases; i++) {
        if (i == 1) set_reading(0);
        begin_phase(i);
        run_until(phase[i].begin + (u64)(options.seconds * 1e9));
        end_phase(i);
    }
    stopping = 1;
    set_reading(1);
    u64 last = now_ns() + (u64)(options.drain * 1e9);
    while (now_ns() < last && (in_flight() || (options.phases > 1 && slow_open()))) round_of(20);
}
