/* The protocol of bench/peers/bare.c, which stands for what the machine can do: binary messages, nothing stored, TOKEN
 * unused. The first message names the CONVERSATION and is answered with "synced"; one that begins with p comes back;
 * one that begins with m goes to everybody of its conversation, the author too, whose own copy counts as the answer. */
#include "load.h"

static void opened(struct client *c) {
    put_text(c->conversation);
    push_message(c);
}

static void ping(struct client *c, u64 id, u64 at) {
    (void)id;                                                  /* answers come in order */
    put_byte('p'), put_stamped(at);
    push_message(c);
}

static void send_text(struct client *c, u64 id, u64 at) {
    (void)id;
    put_byte('m'), put_stamped(at);
    push_message(c);
}

static const u8 *text(const u8 *p, const u8 *end, size_t *size) {
    *size = (size_t)(end - p) - 1;
    return p + 1;
}

static void message(struct client *c, const u8 *p, size_t size, u64 now) {
    if (c->state == SIGNING_IN && size == 6 && !memcmp(p, "synced", 6)) synced(c, now);
    else if (size && *p == 'm') {
        delivered(c, p, p + size, now);
        if (c->role == 'a') answered(c, c->answered, 1, p, p + size, now);
    } else if (size && *p == 'p') answered(c, c->answered, 1, p, p + size, now);
    else counts.others++;
}

const struct protocol bare = {
    .name = "bare", .modes = 1 << PING | 1 << FANOUT, .path = "/", .opcode = 2,
    .opened = opened, .message = message, .ping = ping, .send = send_text, .text = text,
};
