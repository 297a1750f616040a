/* A lean load generator for Konnect's socket: one thread, epoll, raw sockets, WebSocket frames written by hand.
 *
 *   load HOST PORT MODE [name=value ...]      MODE: ping | fanout | direct
 *
 * Standard input: one line a socket, "TOKEN CONVERSATION ROLE" (ROLE: a author, r reader, s a reader that will stop
 * reading; CONVERSATION: its id, or - for ping), then "end". When all are signed in and synced, "go" starts the load.
 * Standard output: one JSON object a line: ready, begin and end of each phase, result; or failed, with the reason.
 *
 *   ping    every socket keeps `flight` pings of `bytes` bytes in flight
 *   fanout  socket 0 sends; with rate > 0 so many messages a second by the clock, whatever comes back (latency counts
 *           from the moment the message was due), else as fast as it goes, at most `flight` not yet delivered to all
 *   direct  sockets 2i and 2i+1 share a conversation; 2i keeps `flight` messages in flight until acknowledged
 *
 * Every frame's head is counted. A socket sees the entries of its one conversation in order, so the n-th is the n-th
 * message and its age needs no decoding; every `sample`-th is decoded whole and its text compared with what was sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef unsigned long long u64;    /* so that %llu prints it */

/* 16 bytes in base64, and SHA-1 of it and RFC 6455's GUID: a key that never changes needs no SHA-1 here. */
#define WS_KEY "a29ubmVjdC1iZW5jaC0wMQ=="
#define WS_ACCEPT "VCUCx0eCwvbuU7KLSJZfGLD8A6o="

enum { RING = 4096, MESSAGES = 65536, RECV = 1 << 18, CONNECTING_AT_ONCE = 64, PHASES = 2 };
enum state { IDLE, CONNECTING, UPGRADING, SIGNING_IN, LIVE, DEAD };

struct client {
    int fd;
    enum state state;
    char role, conversation[40];
    char *token;
    u8 *in;               /* a frame that has not come whole */
    size_t in_size, in_room;
    u8 *out;              /* frames that the kernel has not taken */
    size_t out_size, out_room;
    u32 mask;
    u64 sent, answered, entries;
    u64 *sent_at;         /* of the last RING commands */
    int close_code;
    char close_reason[130];
    int stopped;          /* a slow reader that reads no more */
    int was_stopped;
    int dirty;
};

struct histogram { u64 count, max, bucket[64 * 128]; };

static struct {
    u64 begin, end, cpu_begin, cpu_end;
    u64 acks, deliveries;
    struct histogram ack, delivery, last;   /* last: the moment the last member has it */
} phase[PHASES];

static struct client *clients;
static int client_count, reader_count, mode, ep;
static int now_phase = -1;                  /* -1: warm-up or drain, not counted */
static double opt_rate = 0, opt_seconds = 5, opt_warmup = 1, opt_drain = 10;
static long opt_flight = 1, opt_bytes = 100, opt_sample = 16, opt_phases = 1;
static struct sockaddr_storage address;
static socklen_t address_size;
static char host_header[300];
static u64 run_id, live_count;
static u64 message_at[MESSAGES];            /* fanout: when the n-th message was sent, or due */
static u32 message_left[MESSAGES];          /* fanout: members that do not have it yet */
static u64 messages, complete, total_acks, total_deliveries, errors, losses, wrong, closes, others, decoded;
static char first_error[512], first_close[256];
static int stopping;                        /* no new commands */

static u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static u64 cpu_ns(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    u64 seconds = (u64)(r.ru_utime.tv_sec + r.ru_stime.tv_sec);
    return seconds * 1000000000u + (u64)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000u;
}

static void quoted(const char *text, size_t size, char *to, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < size && n + 2 < room; i++)
        to[n++] = (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\') ? '?' : text[i];
    to[n] = 0;
}

static void fail(const char *format, ...) {
    char text[400], safe[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    quoted(text, strlen(text), safe, sizeof safe);
    printf("{\"event\": \"failed\", \"reason\": \"%s\"}\n", safe);
    fflush(stdout);
    exit(1);
}

static void *grown(void *memory, size_t *room, size_t wanted) {
    if (wanted <= *room) return memory;
    *room = wanted * 2;
    memory = realloc(memory, *room);
    if (!memory) fail("out of memory");
    return memory;
}

/* --- Histogram: 128 steps for each power of two, so a figure is at most 0.8 % too high --- */

static void record(struct histogram *h, u64 ns) {
    int shift = ns < 256 ? 0 : 56 - __builtin_clzll(ns);    /* leaves 8 bits, the highest set */
    h->bucket[shift * 128 + (ns >> shift)]++;
    h->count++;
    if (ns > h->max) h->max = ns;
}

static double quantile_ms(const struct histogram *h, double q) {
    u64 wanted = (u64)(q * (double)h->count), seen = 0;
    if (wanted >= h->count) wanted = h->count ? h->count - 1 : 0;
    for (int shift = 0; shift < 56; shift++)
        for (int i = shift ? 128 : 0; i < 256; i++) {
            seen += h->bucket[shift * 128 + i];
            if (seen > wanted) {
                u64 edge = (((u64)i + 1) << shift) - 1;
                return (double)(edge < h->max ? edge : h->max) / 1e6;
            }
        }
    return (double)h->max / 1e6;
}

/* --- MessagePack, as much as is needed --- */

static const u8 *skip(const u8 *p, const u8 *end);

static const u8 *skip_many(const u8 *p, const u8 *end, u64 count) {
    while (count-- && p) p = skip(p, end);
    return p;
}

static u64 big(const u8 *p, int size) {
    u64 v = 0;
    while (size--) v = v << 8 | *p++;
    return v;
}

static const u8 *skip(const u8 *p, const u8 *end) {
    static const u8 fixed[] = {1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9};  /* c0 to d3, where fixed */
    if (p >= end) return NULL;
    u8 c = *p;
    u64 size;
    if (c < 0x80 || c >= 0xe0) size = 1;
    else if (c < 0x90) return skip_many(p + 1, end, 2 * (u64)(c & 15));
    else if (c < 0xa0) return skip_many(p + 1, end, c & 15);
    else if (c < 0xc0) size = 1 + (c & 31);
    else if (c < 0xd4 && fixed[c - 0xc0]) size = fixed[c - 0xc0];
    else if (c <= 0xc6 || (c >= 0xd9 && c <= 0xdb)) {         /* bin, str with a length before it */
        int width = c <= 0xc6 ? 1 << (c - 0xc4) : 1 << (c - 0xd9);
        if (end - p < 1 + width) return NULL;
        size = 1 + (u64)width + big(p + 1, width);
    } else if (c >= 0xdc) {                                    /* array, map */
        int width = c & 1 ? 4 : 2;
        if (end - p < 1 + width) return NULL;
        return skip_many(p + 1 + width, end, big(p + 1, width) * (c >= 0xde ? 2 : 1));
    } else return NULL;                                        /* extensions do not occur */
    return size <= (u64)(end - p) ? p + size : NULL;
}

/* The value of *key* in the map at *p*; NULL when it is no map or has none. */
static const u8 *find(const u8 *p, const u8 *end, const char *key) {
    if (p >= end) return NULL;
    u64 pairs;
    if ((*p & 0xf0) == 0x80) pairs = *p++ & 15;
    else if (*p == 0xde && end - p >= 3) pairs = big(p + 1, 2), p += 3;
    else return NULL;
    size_t size = strlen(key);
    while (pairs-- && p) {
        int same = p < end && *p == (0xa0 | size) && (size_t)(end - p) > size && !memcmp(p + 1, key, size);
        p = skip(p, end);
        if (same) return p;
        if (p) p = skip(p, end);
    }
    return NULL;
}

static const u8 *string(const u8 *p, const u8 *end, size_t *size) {
    const u8 *after = p ? skip(p, end) : NULL;
    if (!after) return NULL;
    int head;
    if ((*p & 0xe0) == 0xa0) head = 1;
    else if (*p >= 0xd9 && *p <= 0xdb) head = 1 + (1 << (*p - 0xd9));
    else return NULL;
    *size = (size_t)(after - p) - (size_t)head;
    return p + head;
}

static u64 whole(const u8 *p, const u8 *end) {
    if (!p || p >= end) return ~0ull;
    if (*p < 0x80) return *p;
    if (*p >= 0xcc && *p <= 0xcf && end - p > 1 << (*p - 0xcc)) return big(p + 1, 1 << (*p - 0xcc));
    return ~0ull;
}

/* --- Frames out --- */

static u8 body[70000];
static size_t body_size;

static void put(const void *data, size_t size) { memcpy(body + body_size, data, size), body_size += size; }
static void put_byte(u8 b) { body[body_size++] = b; }

static void put_string_head(size_t n) {
    if (n < 32) put_byte((u8)(0xa0 | n));
    else if (n < 256) put_byte(0xd9), put_byte((u8)n);
    else put_byte(0xda), put_byte((u8)(n >> 8)), put_byte((u8)n);
}

static void put_string(const char *text) {
    size_t n = strlen(text);
    put_string_head(n);
    put(text, n);
}

static void put_whole(u64 v) {
    put_byte(0xcf);
    for (int i = 56; i >= 0; i -= 8) put_byte((u8)(v >> i));
}

/* A text of opt_bytes that begins with *at* in 16 hexadecimal digits. */
static void put_stamped(u64 at) {
    char stamp[17];
    size_t n = (size_t)(opt_bytes < 16 ? 16 : opt_bytes);
    snprintf(stamp, sizeof stamp, "%016llx", at);
    put_string_head(n);
    put(stamp, 16);
    memset(body + body_size, 'x', n - 16);
    body_size += n - 16;
}

static void touch(struct client *c);

static void push_frame(struct client *c, int opcode) {
    c->out = grown(c->out, &c->out_room, c->out_size + body_size + 14);
    u8 *p = c->out + c->out_size, *start = p;
    *p++ = (u8)(0x80 | opcode);
    if (body_size < 126) *p++ = (u8)(0x80 | body_size);
    else *p++ = 0x80 | 126, *p++ = (u8)(body_size >> 8), *p++ = (u8)body_size;
    c->mask ^= c->mask << 13, c->mask ^= c->mask >> 17, c->mask ^= c->mask << 5;
    u8 mask[4];
    memcpy(mask, &c->mask, 4);
    memcpy(p, mask, 4), p += 4;
    for (size_t i = 0; i < body_size; i++) p[i] = body[i] ^ mask[i & 3];
    c->out_size += (size_t)(p - start) + body_size;
    body_size = 0;
    touch(c);
}

static void send_hello(struct client *c) {
    put_byte(0x85);
    put_string("t"), put_string("hello");
    put_string("id"), put_byte(0);
    put_string("token"), put_string(c->token);
    put_string("device"), put_string("bench");
    put_string("recent"), put_byte(0);
    push_frame(c, 2);
}

static void send_ping(struct client *c) {
    u64 at = now_ns();
    c->sent_at[c->sent % RING] = at;
    put_byte(0x83);
    put_string("t"), put_string("ping");
    put_string("id"), put_whole(c->sent++);
    put_string("data"), put_stamped(at);
    push_frame(c, 2);
}

static void send_message(struct client *c, u64 at) {
    char key[64];
    c->sent_at[c->sent % RING] = at;
    if (mode == 'f') {
        message_at[messages % MESSAGES] = at;
        message_left[messages % MESSAGES] = (u32)reader_count;
        messages++;
    }
    snprintf(key, sizeof key, "%llx-%td-%llu", run_id, c - clients, c->sent);
    put_byte(0x85);
    put_string("t"), put_string("message.send");
    put_string("id"), put_whole(c->sent++);
    put_string("conversation"), put_string(c->conversation);
    put_string("key"), put_string(key);
    put_string("text"), put_stamped(at);
    push_frame(c, 2);
}

/* --- Sockets --- */

static int *dirty, dirty_count;

static void touch(struct client *c) {
    if (!c->dirty) c->dirty = 1, dirty[dirty_count++] = (int)(c - clients);
}

static void watch(struct client *c, u32 events) {
    struct epoll_event event = {.events = events, .data.u32 = (u32)(c - clients)};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &event);
}

static void end_client(struct client *c, int code, const char *reason) {
    if (c->state == DEAD) return;
    if (c->state == LIVE) live_count--;
    c->state = DEAD;
    c->close_code = code;
    quoted(reason, strlen(reason), c->close_reason, sizeof c->close_reason);
    close(c->fd);
    if (c->role == 's' && now_phase != 0) return;              /* reported on its own */
    closes++;
    if (!first_close[0]) snprintf(first_close, sizeof first_close, "%d %s", code, reason);
}

static void flush_client(struct client *c) {
    c->dirty = 0;
    if (c->state == DEAD || !c->out_size) return;
    ssize_t n = send(c->fd, c->out, c->out_size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        if (errno != EPIPE && errno != ECONNRESET) end_client(c, 1006, strerror(errno));
        c->out_size = 0;                                       /* what the peer still said is read first */
        return;
    }
    if (n > 0) memmove(c->out, c->out + n, c->out_size - (size_t)n), c->out_size -= (size_t)n;
    if (!c->stopped) watch(c, c->out_size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void flush_dirty(void) {
    for (int i = 0; i < dirty_count; i++) flush_client(&clients[dirty[i]]);
    dirty_count = 0;
}

static int next_to_connect;

static void connect_next(void) {
    if (next_to_connect == client_count) return;
    struct client *c = &clients[next_to_connect];
    int one = 1, small = 4096;
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket: %s (raise the limit of open files)", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->role == 's') setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (struct sockaddr *)&address, address_size) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    c->state = CONNECTING;
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = (u32)next_to_connect};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &event);
    next_to_connect++;
}

static void connected(struct client *c) {
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) fail("connect: %s", strerror(problem));
    c->state = UPGRADING;
    c->out = grown(c->out, &c->out_room, 1024);
    c->out_size = (size_t)snprintf((char *)c->out, c->out_room,
        "GET /v1/socket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: " WS_KEY "\r\nSec-WebSocket-Protocol: konnect.v1\r\n\r\n", host_header);
    touch(c);
}

/* Returns the size of the answer's head when it has come whole and is right, 0 when more must come. */
static size_t upgraded(const u8 *data, size_t size) {
    const u8 *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end + 4 - data);
    if (head < 12 || memcmp(data, "HTTP/1.1 101", 12) || !memmem(data, head, WS_ACCEPT, strlen(WS_ACCEPT))) {
        const u8 *line = memchr(data, '\r', size);
        fail("the server refused the socket: %.*s", (int)(line - data), (const char *)data);
    }
    return head;
}

/* --- Frames in --- */

static void delivered(struct client *c, const u8 *p, const u8 *end, u64 now) {
    u64 n = c->entries++, at;
    if (mode == 'f') {
        if (n >= messages) { wrong++; return; }
        at = message_at[n % MESSAGES];
        if (c->role == 's') return;
        if (--message_left[n % MESSAGES] == 0) {
            complete++;
            if (now_phase >= 0) record(&phase[now_phase].last, now - at);
            if (!stopping && opt_rate <= 0 && clients[0].state == LIVE) send_message(&clients[0], now_ns());
        }
    } else {
        if (c->role != 'r') return;                            /* its author's own copy */
        struct client *author = c - 1;
        if (n >= author->sent) { wrong++; return; }
        at = author->sent_at[n % RING];
    }
    total_deliveries++;
    if (now_phase >= 0) phase[now_phase].deliveries++, record(&phase[now_phase].delivery, now - at);
    if (total_deliveries % (u64)opt_sample == 0) {
        size_t size;
        const u8 *text = string(find(p, end, "text"), end, &size);
        char stamp[17];
        snprintf(stamp, sizeof stamp, "%016llx", at);
        decoded++;
        if (!text || size != (size_t)(opt_bytes < 16 ? 16 : opt_bytes) || memcmp(text, stamp, 16)) wrong++;
    }
}

static void answered(struct client *c, u64 id, int good, const u8 *p, const u8 *end, u64 now) {
    if (id >= c->sent) { wrong++; return; }
    u64 at = c->sent_at[id % RING];
    c->answered++;
    if (good) {
        total_acks++;
        if (now_phase >= 0) phase[now_phase].acks++, record(&phase[now_phase].ack, now - at);
        if (mode == 'p' && total_acks % (u64)opt_sample == 0) {
            size_t size = 0;
            char stamp[17];
            const u8 *result = find(p, end, "result");
            const u8 *data = result ? string(find(result, end, "data"), end, &size) : NULL;
            snprintf(stamp, sizeof stamp, "%016llx", at);
            decoded++;
            if (!data || size < 16 || memcmp(data, stamp, 16)) wrong++;
        }
    }
    if (stopping || c->state != LIVE) return;
    if (mode == 'p') send_ping(c);
    if (mode == 'd') send_message(c, now_ns());
}

static void message(struct client *c, const u8 *p, size_t size, u64 now) {
    const u8 *end = p + size;
    /* The server writes "t" first; another that does not is understood too, slower. */
    const u8 *tag = size > 4 && (*p & 0xf0) == 0x80 && p[1] == 0xa1 && p[2] == 't' ? p + 3 : find(p, end, "t");
    size_t n;
    const u8 *t = string(tag, end, &n);
    if (!t) { wrong++; return; }
    if (n == 5 && !memcmp(t, "entry", 5)) delivered(c, p, end, now);
    else if (n == 2 && !memcmp(t, "ok", 2)) {
        const u8 *id = t + 2;
        id = end - id > 4 && !memcmp(id, "\xa2id", 3) ? id + 3 : find(p, end, "id");
        if (c->state == LIVE) answered(c, whole(id, end), 1, p, end, now);
    } else if (n == 5 && !memcmp(t, "error", 5)) {
        size_t code_size = 0, text_size = 0;
        const u8 *code = string(find(p, end, "code"), end, &code_size);
        const u8 *text = string(find(p, end, "message"), end, &text_size);
        char words[400];
        snprintf(words, sizeof words, "%.*s: %.*s", (int)code_size, code ? (const char *)code : "",
                 (int)text_size, text ? (const char *)text : "");
        if (c->state != LIVE) fail("a sign-in was refused: %s", words);
        if (!first_error[0]) quoted(words, strlen(words), first_error, sizeof first_error);
        errors++;
        answered(c, whole(find(p, end, "id"), end), 0, p, end, now);
    } else if (n == 6 && !memcmp(t, "synced", 6)) {
        if (c->state == SIGNING_IN) c->state = LIVE, live_count++, connect_next();
    } else others++;
}

/* Takes whole frames from *data*; returns how many bytes were taken. */
static size_t frames(struct client *c, const u8 *data, size_t size, u64 now) {
    size_t at = 0;
    while (size - at >= 2 && c->state != DEAD) {
        const u8 *p = data + at;
        size_t n = p[1] & 0x7f, head = 2;
        if (n == 126) {
            if (size - at < 4) break;
            n = big(p + 2, 2), head = 4;
        } else if (n == 127) {
            if (size - at < 10) break;
            n = big(p + 2, 8), head = 10;
        }
        if (size - at - head < n) break;
        at += head + n;
        switch (p[0]) {
        case 0x82: message(c, p + head, n, now); break;
        case 0x89:    /* a slow reader's answer after the server's end would reset the stream and what is left in it */
            if (n < 126 && !c->was_stopped) put(p + head, n), push_frame(c, 10);
            break;
        case 0x8a: break;
        case 0x88: {
            char reason[130];
            int code = n >= 2 ? (int)big(p + head, 2) : 1005;
            quoted((const char *)p + head + 2, n > 2 ? n - 2 : 0, reason, sizeof reason);
            if (c->state != LIVE) fail("a socket was closed before it was live: %d %s", code, reason);
            end_client(c, code, reason);
            break;
        }
        default: fail("a frame that cannot be: first byte %02x", p[0]);
        }
    }
    return at;
}

static void readable(struct client *c) {
    static u8 buffer[RECV];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (c->state != LIVE) fail("a socket ended before it was live: %s", n ? strerror(errno) : "end of stream");
        end_client(c, 1006, n ? strerror(errno) : "end of stream");
        return;
    }
    u64 now = now_ns();
    const u8 *data = buffer;
    size_t size = (size_t)n;
    if (c->in_size) {
        c->in = grown(c->in, &c->in_room, c->in_size + size);
        memcpy(c->in + c->in_size, buffer, size);
        data = c->in, size += c->in_size;
    }
    size_t taken = 0;
    if (c->state == UPGRADING) {
        taken = upgraded(data, size);
        if (taken) c->state = SIGNING_IN, send_hello(c);
    }
    if (c->state != UPGRADING) taken += frames(c, data + taken, size - taken, now);
    if (c->state == DEAD) return;
    c->in = grown(c->in, &c->in_room, size - taken);
    if (size > taken) memmove(c->in, data + taken, size - taken);
    c->in_size = size - taken;
}

/* One round of the loop, at most *wait_ms*; *timer* (or -1) only wakes. */
static void round_of(int wait_ms, int timer) {
    static struct epoll_event events[512];
    int n = epoll_wait(ep, events, 512, wait_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == UINT32_MAX) {
            u64 times;
            if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) fail("timer: %s", strerror(errno));
            continue;
        }
        struct client *c = &clients[events[i].data.u32];
        if (c->state == DEAD || c->stopped) continue;
        if (c->state == CONNECTING) { connected(c); continue; }
        if (events[i].events & EPOLLOUT) touch(c);
        if (events[i].events & ~(u32)EPOLLOUT) readable(c);
    }
    flush_dirty();
}

/* --- The course of a run --- */

static void read_clients(void) {
    char *line = NULL;
    size_t room = 0;
    int space = 0;
    while (getline(&line, &room, stdin) > 0 && strcmp(line, "end\n")) {
        if (client_count == space) {
            space = space ? space * 2 : 64;
            clients = realloc(clients, (size_t)space * sizeof *clients);
            if (!clients) fail("out of memory");
        }
        struct client *c = &clients[client_count];
        memset(c, 0, sizeof *c);
        c->token = malloc(room);
        c->sent_at = NULL;
        if (!c->token || sscanf(line, "%s %39s %c", c->token, c->conversation, &c->role) != 3)
            fail("line %d is wrong", client_count + 1);
        c->mask = 0x9e3779b9u * (u32)(client_count + 1) | 1;
        if (c->role != 's' && (mode != 'p')) reader_count++;
        client_count++;
    }
    free(line);
    if (!client_count) fail("no sockets");
    for (int i = 0; i < client_count; i++)
        if (clients[i].role != 'r' || mode == 'p') {
            clients[i].sent_at = calloc(RING, sizeof(u64));
            if (!clients[i].sent_at) fail("out of memory");
        }
    dirty = calloc((size_t)client_count, sizeof *dirty);
    if (!dirty) fail("out of memory");
}

static void sign_in(void) {
    u64 begin = now_ns(), told = begin;
    for (int i = 0; i < CONNECTING_AT_ONCE; i++) connect_next();
    while (live_count < (u64)client_count) {
        round_of(100, -1);
        if (now_ns() - begin > 120000000000u)
            fail("only %llu of %d sockets were signed in after 120 s", live_count, client_count);
        if (now_ns() - told > 5000000000u) {
            told = now_ns();
            fprintf(stderr, "%llu of %d signed in\n", live_count, client_count);
        }
    }
    double seconds = (double)(now_ns() - begin) / 1e9;
    printf("{\"event\": \"ready\", \"sockets\": %d, \"seconds\": %.3f}\n", client_count, seconds);
    fflush(stdout);
}

static void await_go(void) {
    char line[16];
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (;;) {                                                 /* pings of the server are answered meanwhile */
        ssize_t n = read(0, line, sizeof line);
        if (n > 0) break;
        if (n == 0) fail("nobody said go");
        round_of(5, -1);
    }
}

static void start_commands(void) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (mode == 'p') for (long k = 0; k < opt_flight; k++) send_ping(c);
        if (mode == 'd' && c->role == 'a') for (long k = 0; k < opt_flight; k++) send_message(c, now_ns());
    }
    if (mode == 'f' && opt_rate <= 0) for (long k = 0; k < opt_flight; k++) send_message(&clients[0], now_ns());
    flush_dirty();
}

static int timer = -1;
static u64 due, gap;

/* Run until *end*, sending what is due. */
static void run_until(u64 end) {
    while (now_ns() < end) {
        u64 now = now_ns();
        if (gap && !stopping) {
            while (due <= now && clients[0].state == LIVE) send_message(&clients[0], due), due += gap;
            struct timespec at = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
            struct itimerspec when = {.it_value = at};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
            flush_dirty();
        }
        u64 left = end > now ? (end - now) / 1000000u + 1 : 1;
        round_of(left > 50 ? 50 : (int)left, timer);
        if (!live_count) fail("all sockets are closed; the first: %s", first_close);
    }
}

static void event_line(const char *name, int number) {
    printf("{\"event\": \"%s\", \"phase\": %d}\n", name, number);
    fflush(stdout);
}

static u64 in_flight(void) {
    u64 open = 0;
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->state == DEAD) continue;
        open += c->sent - c->answered;
        if (mode == 'd' && c->role == 'r') open += c[-1].sent - c->entries;
    }
    return mode == 'f' ? open + messages - complete : open;
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf(", \"%s\": {\"count\": %llu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"max_ms\": %.4f}", name,
           h->count, quantile_ms(h, .5), quantile_ms(h, .99), quantile_ms(h, .999), (double)h->max / 1e6);
}

static void print_result(void) {
    u64 sent = 0, expected = 0, slow = 0;
    for (int i = 0; i < client_count; i++) sent += clients[i].sent;
    if (mode == 'f') expected = messages * (u64)reader_count;
    if (mode == 'd') expected = sent;
    losses = expected > total_deliveries ? expected - total_deliveries : 0;
    if (sent > total_acks + errors) losses += sent - total_acks - errors;
    if (total_deliveries > expected && mode != 'p') wrong += total_deliveries - expected;
    printf("{\"event\": \"result\", \"sockets\": %d, \"sent\": %llu, \"acks\": %llu, \"deliveries\": %llu, "
           "\"expected\": %llu, \"lost\": %llu, \"wrong\": %llu, \"errors\": %llu, \"closes\": %llu, "
           "\"others\": %llu, \"decoded\": %llu, \"first_error\": \"%s\", \"first_close\": \"%s\", \"slow\": [",
           client_count, sent, total_acks, total_deliveries,
           expected, losses, wrong, errors,
           closes, others, decoded, first_error, first_close);
    for (int i = 0; i < client_count; i++)
        if (clients[i].role == 's')
            printf("%s[%d, \"%s\"]", slow++ ? ", " : "", clients[i].close_code, clients[i].close_reason);
    printf("], \"phases\": [");
    for (int i = 0; i < opt_phases; i++) {
        double seconds = (double)(phase[i].end - phase[i].begin) / 1e9;
        printf("%s{\"seconds\": %.3f, \"acks\": %llu, \"deliveries\": %llu, \"cpu\": %.4f", i ? ", " : "", seconds,
               phase[i].acks, phase[i].deliveries,
               (double)(phase[i].cpu_end - phase[i].cpu_begin) / 1e9 / seconds);
        print_histogram("ack", &phase[i].ack);
        print_histogram("delivery", &phase[i].delivery);
        print_histogram("last", &phase[i].last);
        printf("}");
    }
    printf("]}\n");
    fflush(stdout);
}

static void set_reading(int reads) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->role != 's' || c->state != LIVE) continue;
        c->stopped = !reads;
        c->was_stopped |= !reads;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (u32)i};
        epoll_ctl(ep, reads ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->fd, &event);
    }
}

static int slow_open(void) {
    for (int i = 0; i < client_count; i++)
        if (clients[i].role == 's' && clients[i].state == LIVE) return 1;
    return 0;
}

static void read_options(int count, char **words) {
    if (count < 4) fail("load HOST PORT ping|fanout|direct [name=value ...]");
    mode = words[3][0];
    if (mode != 'p' && mode != 'f' && mode != 'd') fail("no mode is called %s", words[3]);
    for (int i = 4; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) fail("%s is no name=value", words[i]);
        *value++ = 0;
        if (!strcmp(words[i], "rate")) opt_rate = atof(value);
        else if (!strcmp(words[i], "seconds")) opt_seconds = atof(value);
        else if (!strcmp(words[i], "warmup")) opt_warmup = atof(value);
        else if (!strcmp(words[i], "drain")) opt_drain = atof(value);
        else if (!strcmp(words[i], "flight")) opt_flight = atol(value);
        else if (!strcmp(words[i], "bytes")) opt_bytes = atol(value);
        else if (!strcmp(words[i], "sample")) opt_sample = atol(value);
        else if (!strcmp(words[i], "phases")) opt_phases = atol(value);
        else fail("no option is called %s", words[i]);
    }
    if (opt_flight < 1 || opt_flight > RING / 2 || opt_bytes < 16 || opt_bytes > 60000 || opt_sample < 1 ||
        opt_phases < 1 || opt_phases > PHASES || opt_seconds <= 0 || opt_rate < 0)
        fail("an option is out of bounds");
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    int problem = getaddrinfo(words[1], words[2], &hints, &found);
    if (problem) fail("%s: %s", words[1], gai_strerror(problem));
    memcpy(&address, found->ai_addr, found->ai_addrlen);
    address_size = found->ai_addrlen;
    freeaddrinfo(found);
    const char *form = strchr(words[1], ':') ? "[%.200s]:%.8s" : "%.200s:%.8s";
    snprintf(host_header, sizeof host_header, form, words[1], words[2]);
}

int main(int count, char **words) {
    read_options(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run_id = now_ns() ^ (u64)getpid() << 48;
    ep = epoll_create1(0);
    read_clients();
    sign_in();
    await_go();

    if (opt_rate > 0) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
        epoll_ctl(ep, EPOLL_CTL_ADD, timer, &event);
        gap = (u64)(1e9 / opt_rate);
        due = now_ns() + gap;
    } else start_commands();
    run_until(now_ns() + (u64)(opt_warmup * 1e9));
    for (int i = 0; i < opt_phases; i++) {
        if (i == 1) set_reading(0);
        event_line("begin", i);
        phase[i].begin = now_ns(), phase[i].cpu_begin = cpu_ns();
        now_phase = i;
        run_until(phase[i].begin + (u64)(opt_seconds * 1e9));
        phase[i].end = now_ns(), phase[i].cpu_end = cpu_ns();
        now_phase = -1;
        event_line("end", i);
    }
    stopping = 1;
    if (opt_phases > 1) set_reading(1);
    u64 last = now_ns() + (u64)(opt_drain * 1e9);
    while (now_ns() < last && (in_flight() || (opt_phases > 1 && slow_open()))) round_of(20, timer);
    print_result();
    return 0;
}
