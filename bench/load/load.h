/* What the rooms of the load generator share. main.c says what it does and how it is told.
 *
 *   main       options, sockets as told on standard input, the order of things
 *   course     signing in; the load of ping, fanout, direct
 *   storm      the modes idle and storm
 *   count      what was sent, answered, delivered, missed: the one judge of right and wrong
 *   sockets    epoll: dialling, reading, writing, what breaks
 *   websocket  the handshake, frames in and out
 *   out        bytes on their way out
 *   histogram, tell          figures, and the lines on standard output
 *   msgpack, json, xml       as much of each as is needed to look into a message
 *   konnect, socketio, xmpp, nats, bare      one protocol each, behind struct protocol
 */
#ifndef LOAD_H
#define LOAD_H
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/socket.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef unsigned long long u64;    /* so that %llu prints it */

enum { RING = 4096, MESSAGES = 65536, PHASES = 2 };
enum mode { PING, FANOUT, DIRECT, IDLE, STORM, BESIDE };
enum state { UNDIALLED, DEAD, CONNECTING, UPGRADING, SIGNING_IN, LIVE };    /* above DEAD: it has a descriptor */

struct client {
    int fd;
    enum state state;
    u32 mask, watched;    /* watched: the events that epoll is asked for */
    u8 *in;               /* a frame that has not come whole */
    size_t in_size, in_room;
    u8 *out;              /* frames that the kernel has not taken */
    size_t out_size, out_room;
    u64 sent, answered, entries;    /* entries: beside: of the author's */
    u64 *sent_at;         /* of the last RING commands */
    char role;
    char stopped;         /* a slow reader that reads no more */
    char was_stopped;
    char dirty;
    char *token, *conversation;
    int close_code;
    char close_reason[130];
    u64 dialled_at;
    u64 head;             /* it has everything up to this entry; 0: it was never here */
    u64 missed;           /* storm: so many entries lie above the head */
    u64 caught, right;    /* storm: the last of them that came, and how many came as they should */
    char *cursor;         /* konnect: as the server last told it */
    int step;             /* xmpp: how far the sign-in is */
    u32 handled;          /* xmpp: stanzas that came since stream management was enabled */
    u32 stanzas, *stanza; /* xmpp: how many were sent since then; which of them each of the last RING messages was */
};

/* One peer's way to speak. A protocol runs over a WebSocket when it has a path, else over the plain stream. */
struct protocol {
    const char *name;
    unsigned modes;                                /* a bit for each mode it can: 1 << PING ... */
    const char *path, *subprotocol;
    int opcode;                                    /* of a WebSocket's messages: 1 text, 2 binary */
    void (*opened)(struct client *c);              /* the stream is there; sign_in ends with a call of synced() */
    void (*message)(struct client *c, const u8 *p, size_t size, u64 now);     /* WebSocket: one message */
    size_t (*take)(struct client *c, const u8 *p, size_t size, u64 now);      /* plain: whole ones; bytes taken */
    void (*ping)(struct client *c, u64 id, u64 at);
    void (*send)(struct client *c, u64 id, u64 at);
    const u8 *(*text)(const u8 *p, const u8 *end, size_t *size);   /* what was stamped, in a message or an answer */
};
extern const struct protocol konnect, socketio, xmpp, nats, bare;

extern struct options {
    const struct protocol *protocol;
    enum mode mode;
    double rate, seconds, warmup, drain, patience;
    long flight, bytes, sample, phases, connecting;
} options;

extern struct client *clients;
extern int client_count;
extern u64 run_id, live_count;
extern struct sockaddr_storage address;
extern socklen_t address_size;
extern char host_header[300];

/* --- histogram --- */

struct histogram { u64 count, max, bucket[64 * 128]; };

/* 128 steps for each power of two, so a figure is at most 0.8 % too high. */
static inline void record(struct histogram *h, u64 ns) {
    int shift = ns < 256 ? 0 : 56 - __builtin_clzll(ns);    /* leaves 8 bits, the highest set */
    h->bucket[shift * 128 + (ns >> shift)]++;
    h->count++;
    if (ns > h->max) h->max = ns;
}
double quantile_ms(const struct histogram *h, double q);

/* --- count --- */

struct phase {
    u64 begin, end, cpu_begin, cpu_end, acks, deliveries;
    struct histogram ack, delivery, last;           /* last: the moment the last member has it */
    struct histogram synced;                        /* idle: since it was dialled; storm: since the reset */
};
extern struct phase phase[PHASES];
extern int now_phase;                       /* -1: warm-up or drain, not counted */
extern int stopping;                        /* no new commands */
extern struct counts {
    u64 messages, complete, acks, deliveries, errors, wrong, closes, others, decoded, redials;
    char first_error[512], first_close[256];
} counts;

void prepare_counts(void);
void send_ping(struct client *c);
void send_message(struct client *c, u64 at);
void delivered(struct client *c, const u8 *p, const u8 *end, u64 now);
void answered(struct client *c, u64 id, int good, const u8 *p, const u8 *end, u64 now);
void refused(struct client *c, const char *words);
void caught_up(struct client *c, u64 seq, const u8 *text, size_t size);
void forget_caught_up(struct client *c);    /* they will come again from the first */
u64 in_flight(void);
u64 sent_in_all(void);
u64 expected_deliveries(void);

/* --- course, storm --- */

void sign_in(void);
void await_go(void);
void make_load(void);
void keep_beat(void);
void hold_idle(void);
void make_storm(void);
void run_until(u64 end);
void begin_phase(int number);
void end_phase(int number);
extern int storming;                        /* whoever is not signed in is dialled again when it breaks */
extern u64 storm_began;

/* --- sockets --- */

void open_sockets(void);
void connect_next(void);
void reset_all(void);
void synced(struct client *c, u64 now);
void lost(struct client *c, int code, const char *reason);
void round_of(int wait_ms);
void touch(struct client *c);
void flush_dirty(void);
void set_reading(int reads);
void set_timer(u64 at);
int slow_open(void);

/* --- websocket --- */

void ask_upgrade(struct client *c);
size_t upgraded(struct client *c, const u8 *data, size_t size);
size_t take_frames(struct client *c, const u8 *data, size_t size, u64 now);
void push_message(struct client *c);
void push_frame(struct client *c, int opcode);

/* --- out: a body is put together, then pushed as a frame or as it is --- */

extern u8 body[70000];
extern size_t body_size;
void put(const void *data, size_t size);
void put_byte(u8 b);
void put_text(const char *text);
void put_decimal(u64 v);
void put_stamped(u64 at);                   /* a text of stamped_size() that begins with at in 16 hexadecimal digits */
void put_key(const struct client *c, u64 id);
size_t stamped_size(void);
u64 stamp_of(const u8 *text, size_t size);  /* 0 when there is none */
void push_plain(struct client *c);
void *grown(void *memory, size_t *room, size_t wanted);

/* --- tell --- */

u64 now_ns(void);
u64 cpu_ns(void);
noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void quoted(const char *text, size_t size, char *to, size_t room);
void tell_ready(double seconds, double cpu_s);
void tell_phase(const char *event, int number);
void tell_stretch(void);
void tell_result(void);

static inline int same(const u8 *p, size_t size, const char *text) {
    return p && strlen(text) == size && !memcmp(p, text, size);
}

/* --- msgpack, json, xml: where a thing is, or NULL; whole numbers ~0 when there is none --- */

static inline u64 big(const u8 *p, int size) {
    u64 v = 0;
    while (size--) v = v << 8 | *p++;
    return v;
}
const u8 *pack_find(const u8 *map, const u8 *end, const char *key);
const u8 *pack_string(const u8 *p, const u8 *end, size_t *size);
u64 pack_whole(const u8 *p, const u8 *end);
void pack_put_string(const char *text);
void pack_put_stamped(u64 at);
void pack_put_whole(u64 v);

const u8 *json_find(const u8 *object, const u8 *end, const char *key);
const u8 *json_string(const u8 *p, const u8 *end, size_t *size);      /* escapes are left as they are */
u64 json_whole(const u8 *p, const u8 *end);

int xml_is(const u8 *p, const u8 *end, const char *name);             /* is *p* an element of that name? */
const u8 *xml_attribute(const u8 *p, const u8 *end, const char *name, size_t *size);
const u8 *xml_inside(const u8 *p, const u8 *end, const char *name, size_t *size);   /* the text of the first such */

#endif
