/* What was sent, answered, delivered, missed: the one judge of right and wrong, whatever the protocol.
 *
 * A socket sees the messages of its one conversation in order, so the n-th is the n-th message and its age needs no
 * decoding; every `sample`-th is looked into and its text, which begins with the moment of sending, compared.
 */
#include "load.h"
#include <stdlib.h>

struct phase phase[PHASES];
int now_phase = -1, stopping;
struct counts counts;
static int reader_count;
static u64 message_at[MESSAGES];            /* fanout: when the n-th message was sent, or due */
static u32 message_left[MESSAGES];          /* fanout: members that do not have it yet */

void prepare_counts(void) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->role != 's' && c->role != 'g') reader_count++;
        if (options.mode == IDLE || options.mode == STORM || (options.mode != PING && c->role == 'r')) continue;
        c->sent_at = calloc(RING, sizeof(u64));
        if (!c->sent_at) fail("out of memory");
    }
}

/* --- Sending --- */

void send_ping(struct client *c) {
    u64 at = now_ns();
    c->sent_at[c->sent % RING] = at;
    options.protocol->ping(c, c->sent++, at);
}

void send_message(struct client *c, u64 at) {
    c->sent_at[c->sent % RING] = at;
    if (options.mode == FANOUT || options.mode == BESIDE) {
        message_at[counts.messages % MESSAGES] = at;
        message_left[counts.messages % MESSAGES] = (u32)reader_count;
        counts.messages++;
    }
    options.protocol->send(c, c->sent++, at);
}

/* --- What comes --- */

/* Every so often the text is compared with what was sent. */
static void sample(u64 number, u64 at, const u8 *p, const u8 *end) {
    if (number % (u64)options.sample) return;
    size_t size = 0;
    const u8 *text = options.protocol->text(p, end, &size);
    counts.decoded++;
    if (stamp_of(text, size) != at || size != stamped_size()) counts.wrong++;
}

static void one_member_less(u64 n, u64 at, u64 now) {
    if (--message_left[n % MESSAGES]) return;
    counts.complete++;
    if (now_phase >= 0) record(&phase[now_phase].last, now - at);
    if (!stopping && options.rate <= 0 && clients[0].state == LIVE) send_message(&clients[0], now_ns());
}

/* Others act in the conversation: the author's messages are those that say when they were sent, and the n-th of them
 * must be the n-th; each is looked into. */
static void came_beside(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t size = 0;
    const u8 *text = options.protocol->text(p, end, &size);
    u64 at = stamp_of(text, size), n = c->entries;
    if (!at || c->role == 'g') { counts.others++; return; }
    counts.decoded++;
    if (n >= counts.messages || message_at[n % MESSAGES] != at || size != stamped_size()) { counts.wrong++; return; }
    c->entries++;
    one_member_less(n, at, now);
    counts.deliveries++;
    if (now_phase >= 0) phase[now_phase].deliveries++, record(&phase[now_phase].delivery, now - at);
}

/* One message of its conversation came to *c*: a member of the group, or the second of a pair. */
void delivered(struct client *c, const u8 *p, const u8 *end, u64 now) {
    if (options.mode == BESIDE) { came_beside(c, p, end, now); return; }
    u64 n = c->entries++, at;
    if (options.mode == FANOUT) {
        if (n >= counts.messages) { counts.wrong++; return; }
        at = message_at[n % MESSAGES];
        if (c->role == 's') return;
        one_member_less(n, at, now);
    } else if (options.mode == DIRECT) {
        if (c->role != 'r') return;                            /* its author's own copy */
        struct client *author = c - 1;
        if (n >= author->sent) { counts.wrong++; return; }
        at = author->sent_at[n % RING];
    } else { counts.wrong++; return; }                         /* nobody has sent one */
    counts.deliveries++;
    if (now_phase >= 0) phase[now_phase].deliveries++, record(&phase[now_phase].delivery, now - at);
    sample(counts.deliveries, at, p, end);
}

/* The *id*-th command of *c* was answered; *good*: done, else refused. */
void answered(struct client *c, u64 id, int good, const u8 *p, const u8 *end, u64 now) {
    if (id >= c->sent) { counts.wrong++; return; }
    u64 at = c->sent_at[id % RING];
    c->answered++;
    if (good) {
        counts.acks++;
        if (now_phase >= 0) phase[now_phase].acks++, record(&phase[now_phase].ack, now - at);
        if (options.mode == PING) sample(counts.acks, at, p, end);
    }
    if (stopping || c->state != LIVE) return;
    if (options.mode == PING) send_ping(c);
    if (options.mode == DIRECT) send_message(c, now_ns());
}

/* The server says no, in *words*: to the sign-in, which ends the run, or to a command. */
void refused(struct client *c, const char *words) {
    if (c->state != LIVE) fail("a sign-in was refused: %s", words);
    if (!counts.first_error[0]) quoted(words, strlen(words), counts.first_error, sizeof counts.first_error);
    counts.errors++;
}

/* A missed message came after the storm: its text says which of the missed ones it is (1, 2, ...), and *seq* must
 * agree. One that is skipped is found lost in the end. */
void caught_up(struct client *c, u64 seq, const u8 *text, size_t size) {
    u64 n = stamp_of(text, size);
    if (c->state == LIVE || n <= c->caught || n > c->missed || seq != c->head + n) { counts.wrong++; return; }
    c->caught = n;
    c->right++;
    counts.deliveries++;
    phase[0].deliveries++;
}

void forget_caught_up(struct client *c) {
    counts.deliveries -= c->right;
    phase[0].deliveries -= c->right;
    c->caught = c->right = 0;
}

/* --- At the end --- */

u64 in_flight(void) {
    u64 open = 0;
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->state == DEAD) continue;
        open += c->sent - c->answered;
        if (options.mode == DIRECT && c->role == 'r') open += c[-1].sent - c->entries;
    }
    return options.mode == FANOUT || options.mode == BESIDE ? open + counts.messages - counts.complete : open;
}

u64 sent_in_all(void) {
    u64 sent = 0;
    for (int i = 0; i < client_count; i++) sent += clients[i].sent;
    return sent;
}

u64 expected_deliveries(void) {
    u64 missed = 0;
    for (int i = 0; i < client_count; i++) missed += clients[i].missed;
    switch (options.mode) {
    case FANOUT: case BESIDE: return counts.messages * (u64)reader_count;
    case DIRECT: return sent_in_all();
    case STORM: return missed;
    default: return 0;
    }
}
