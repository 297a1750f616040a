/* The core NATS text protocol, fanout only. TOKEN: - or the server's auth_token; CONVERSATION: the subject, to which
 * every socket is subscribed, the author's too. Synced is the PONG to the PING after SUB. No message is acknowledged by
 * itself: the author's own copy counts as that. Nothing is stored. */
#define _GNU_SOURCE
#include "load.h"
#include <stdio.h>

static void opened(struct client *c) { (void)c; }              /* the server's INFO comes first */

static void greet(struct client *c) {
    put_text("CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"lang\":\"c\",\"version\":\"1\"");
    if (strcmp(c->token, "-")) put_text(",\"auth_token\":\""), put_text(c->token), put_text("\"");
    put_text("}\r\nSUB "), put_text(c->conversation);
    put_text(" 1\r\nPING\r\n");
    push_plain(c);
}

static void publish(struct client *c, u64 id, u64 at) {
    (void)id;
    put_text("PUB "), put_text(c->conversation);
    put_byte(' '), put_decimal(stamped_size());
    put_text("\r\n"), put_stamped(at), put_text("\r\n");
    push_plain(c);
}

static const u8 *text(const u8 *p, const u8 *end, size_t *size) {
    *size = (size_t)(end - p);
    return p;
}

/* The number at a line's end: the payload's size. */
static size_t last_number(const u8 *line, const u8 *end) {
    size_t value = 0, unit = 1;
    while (end > line && end[-1] >= '0' && end[-1] <= '9') value += (size_t)(*--end - '0') * unit, unit *= 10;
    return value;
}

static void said(struct client *c, const u8 *line, size_t size, u64 now) {
    if (size >= 4 && !memcmp(line, "PING", 4)) put_text("PONG\r\n"), push_plain(c);
    else if (size >= 4 && !memcmp(line, "PONG", 4)) synced(c, now);
    else if (size >= 5 && !memcmp(line, "INFO ", 5)) {
        if (c->state == SIGNING_IN && !c->step) c->step = 1, greet(c);
    } else if (size >= 5 && !memcmp(line, "-ERR ", 5)) {
        char words[200];
        snprintf(words, sizeof words, "%.*s", (int)size - 5, (const char *)line + 5);
        refused(c, words);
    } else if (size < 3 || memcmp(line, "+OK", 3)) counts.others++;
}

static size_t take(struct client *c, const u8 *data, size_t size, u64 now) {
    const u8 *p = data, *end = data + size, *feed;
    while (c->state > DEAD && (feed = memchr(p, '\n', (size_t)(end - p)))) {
        const u8 *line_end = feed > p && feed[-1] == '\r' ? feed - 1 : feed;
        if (line_end - p < 4 || memcmp(p, "MSG ", 4)) {
            said(c, p, (size_t)(line_end - p), now);
            p = feed + 1;
            continue;
        }
        size_t n = last_number(p, line_end);
        if ((size_t)(end - feed - 1) < n + 2) break;           /* the payload has not come whole */
        const u8 *payload = feed + 1;
        p = payload + n + 2;
        delivered(c, payload, payload + n, now);
        if (c->role == 'a') answered(c, c->answered, 1, payload, payload + n, now);
    }
    return (size_t)(p - data);
}

const struct protocol nats = {
    .name = "nats", .modes = 1 << FANOUT, .opened = opened, .take = take, .send = publish, .text = text,
};
