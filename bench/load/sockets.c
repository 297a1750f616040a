/* The sockets: one epoll descriptor, non-blocking, what was written in a round leaves at its end. */
#define _GNU_SOURCE
#include "load.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { RECV = 1 << 18, EVENTS = 512 };
#define TIMER UINT32_MAX

static int ep, timer = -1;
static int *dirty, dirty_count;
static int *broken, broken_count;           /* storm: to be dialled again */
static int next_to_connect;

void open_sockets(void) {
    ep = epoll_create1(0);
    dirty = calloc((size_t)client_count, sizeof *dirty);
    broken = calloc((size_t)client_count, sizeof *broken);
    if (ep < 0 || !dirty || !broken) fail("out of memory");
}

void touch(struct client *c) {
    if (!c->dirty) c->dirty = 1, dirty[dirty_count++] = (int)(c - clients);
}

static void watch(struct client *c, u32 events) {
    if (events == c->watched) return;
    struct epoll_event event = {.events = c->watched = events, .data.u32 = (u32)(c - clients)};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &event);
}

/* Slow readers stop, or read on what was left for them. */
void set_reading(int reads) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->role != 's' || c->state != LIVE || c->stopped == !reads) continue;
        c->stopped = !reads;
        c->was_stopped |= !reads;
        struct epoll_event event = {.events = c->watched = EPOLLIN, .data.u32 = (u32)i};
        epoll_ctl(ep, reads ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->fd, &event);
    }
}

int slow_open(void) {
    for (int i = 0; i < client_count; i++)
        if (clients[i].role == 's' && clients[i].state == LIVE) return 1;
    return 0;
}

/* --- Dialling --- */

static void dial(struct client *c) {
    int one = 1, small = 4096;
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket: %s (raise the limit of open files)", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->role == 's') setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    c->state = CONNECTING;
    c->dialled_at = now_ns();
    c->in_size = c->out_size = 0;
    c->step = 0;
    if (connect(c->fd, (struct sockaddr *)&address, address_size) && errno != EINPROGRESS) {
        if (errno != ECONNREFUSED) fail("connect: %s", strerror(errno));
        lost(c, 1006, strerror(errno));
        return;
    }
    struct epoll_event event = {.events = c->watched = EPOLLOUT, .data.u32 = (u32)(c - clients)};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &event);
}

void connect_next(void) {
    if (next_to_connect < client_count) dial(&clients[next_to_connect++]);
}

static void connected(struct client *c) {
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) {
        lost(c, 1006, strerror(problem));
        return;
    }
    watch(c, EPOLLIN);
    if (options.protocol->path) {
        c->state = UPGRADING;
        ask_upgrade(c);
    } else {
        c->state = SIGNING_IN;
        options.protocol->opened(c);
    }
}

void synced(struct client *c, u64 now) {
    if (c->state != SIGNING_IN) return;
    c->state = LIVE;
    live_count++;
    if (storming) record(&phase[0].synced, now - storm_began);
    else if (options.mode == IDLE) record(&phase[0].synced, now - c->dialled_at);
    connect_next();
}

/* A socket is no more. Before it was live that ends the run, but in a storm, where it is dialled again at once unless
 * the server said (in Konnect's codes from 4500 on) that coming back is of no use. */
void lost(struct client *c, int code, const char *reason) {
    if (c->state <= DEAD) return;
    if (c->state != LIVE && (!storming || (code >= 4500 && code < 5000)))
        fail("a socket was closed before it was live: %d %s", code, reason);
    close(c->fd);
    if (c->state != LIVE) {
        c->state = UNDIALLED;
        broken[broken_count++] = (int)(c - clients);
        counts.redials++;
        return;
    }
    live_count--;
    c->state = DEAD;
    c->close_code = code;
    quoted(reason, strlen(reason), c->close_reason, sizeof c->close_reason);
    if (c->role == 's' && now_phase != 0) return;              /* reported on its own */
    counts.closes++;
    if (!counts.first_close[0])
        snprintf(counts.first_close, sizeof counts.first_close, "%d %s", code, c->close_reason);
}

/* Each socket is reset as by a lost network, and dialled again in the next round. */
void reset_all(void) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->state > DEAD) {
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
            close(c->fd);
        }
        c->state = UNDIALLED;
        broken[broken_count++] = i;
    }
    live_count = 0;
}

static void dial_broken(void) {
    int count = broken_count;                                  /* whoever breaks at once waits for the next round */
    for (int i = 0; i < count; i++) dial(&clients[broken[i]]);
    broken_count -= count;
    memmove(broken, broken + count, (size_t)broken_count * sizeof *broken);
}

/* --- Writing, reading --- */

static void flush_client(struct client *c) {
    c->dirty = 0;
    if (c->state <= DEAD || !c->out_size) return;
    ssize_t n = send(c->fd, c->out, c->out_size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        if (errno != EPIPE && errno != ECONNRESET) lost(c, 1006, strerror(errno));
        c->out_size = 0;                                       /* what the peer still said is read first */
        if (c->state > DEAD && !c->stopped) watch(c, EPOLLIN);
        return;
    }
    if (n > 0) memmove(c->out, c->out + n, c->out_size - (size_t)n), c->out_size -= (size_t)n;
    if (!c->stopped) watch(c, c->out_size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void flush_dirty(void) {
    for (int i = 0; i < dirty_count; i++) flush_client(&clients[dirty[i]]);
    dirty_count = 0;
}

static size_t take(struct client *c, const u8 *data, size_t size, u64 now) {
    size_t head = 0;
    if (c->state == UPGRADING) {
        head = upgraded(c, data, size);
        if (!head) return 0;
        c->state = SIGNING_IN;
        options.protocol->opened(c);
    }
    if (options.protocol->path) return head + take_frames(c, data + head, size - head, now);
    return options.protocol->take(c, data, size, now);
}

static void readable(struct client *c) {
    static u8 buffer[RECV];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        lost(c, 1006, n ? strerror(errno) : "end of stream");
        return;
    }
    const u8 *data = buffer;
    size_t size = (size_t)n;
    if (c->in_size) {
        c->in = grown(c->in, &c->in_room, c->in_size + size);
        memcpy(c->in + c->in_size, buffer, size);
        data = c->in, size += c->in_size;
    }
    size_t taken = take(c, data, size, now_ns());
    if (c->state <= DEAD) return;
    c->in_size = size - taken;
    if (!c->in_size) return;
    if (data == buffer) c->in = grown(c->in, &c->in_room, c->in_size);
    memmove(c->in, data + taken, c->in_size);
}

/* --- Rounds --- */

/* One round of the loop, at most *wait_ms*; the timer only wakes. */
void round_of(int wait_ms) {
    static struct epoll_event events[EVENTS];
    if (broken_count) dial_broken(), wait_ms = 0;
    int n = epoll_wait(ep, events, EVENTS, wait_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == TIMER) {
            u64 times;
            if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) fail("timer: %s", strerror(errno));
            continue;
        }
        struct client *c = &clients[events[i].data.u32];
        if (c->state <= DEAD || c->stopped) continue;
        if (c->state == CONNECTING) { connected(c); continue; }
        if (events[i].events & EPOLLOUT) touch(c);
        if (events[i].events & ~(u32)EPOLLOUT) readable(c);
    }
    flush_dirty();
}

/* The round that is under way at *at* (monotonic, nanoseconds) wakes. */
void set_timer(u64 at) {
    if (timer < 0) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = TIMER};
        epoll_ctl(ep, EPOLL_CTL_ADD, timer, &event);
    }
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}
