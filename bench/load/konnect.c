/* Konnect's own protocol, docs/protocol.md: MessagePack in binary messages. TOKEN: an access token; CONVERSATION: an
 * id, or - where none is needed. */
#define _GNU_SOURCE
#include "load.h"
#include <stdio.h>
#include <stdlib.h>

/* Does this hello say that the client was here before? In a storm's second sign-in always; in its first never, as that
 * is where it gets its cursor; in the other modes when it was told a head. */
static int comes_back(const struct client *c) { return options.mode == STORM ? storming : c->head > 0; }

/* As a client that starts afresh, or as one that comes back, with its head and the last synced's cursor. */
static void hello(struct client *c) {
    put_byte(comes_back(c) ? 0x87 : 0x85);
    pack_put_string("t"), pack_put_string("hello");
    pack_put_string("id"), put_byte(0);
    pack_put_string("token"), pack_put_string(c->token);
    pack_put_string("device"), pack_put_string("bench");
    pack_put_string("recent"), put_byte(0);
    if (comes_back(c)) {
        pack_put_string("heads"), put_byte(0x81);
        pack_put_string(c->conversation), pack_put_whole(c->head + c->caught);
        pack_put_string("cursor"), c->cursor ? pack_put_string(c->cursor) : put_byte(0xc0);
    }
    push_message(c);
}

static void ping(struct client *c, u64 id, u64 at) {
    put_byte(0x83);
    pack_put_string("t"), pack_put_string("ping");
    pack_put_string("id"), pack_put_whole(id);
    pack_put_string("data"), pack_put_stamped(at);
    push_message(c);
}

static void send_text(struct client *c, u64 id, u64 at) {
    char key[64];
    snprintf(key, sizeof key, "%llx-%td-%llu", run_id, c - clients, id);
    put_byte(0x85);
    pack_put_string("t"), pack_put_string("message.send");
    pack_put_string("id"), pack_put_whole(id);
    pack_put_string("conversation"), pack_put_string(c->conversation);
    pack_put_string("key"), pack_put_string(key);
    pack_put_string("text"), pack_put_stamped(at);
    push_message(c);
}

static const u8 *text(const u8 *p, const u8 *end, size_t *size) {
    if (options.mode == PING) return pack_string(pack_find(pack_find(p, end, "result"), end, "data"), end, size);
    return pack_string(pack_find(p, end, "text"), end, size);
}

static void entry_missed(struct client *c, const u8 *p, const u8 *end) {
    size_t where_size, text_size;
    const u8 *where = pack_string(pack_find(p, end, "conversation"), end, &where_size);
    const u8 *words = pack_string(pack_find(p, end, "text"), end, &text_size);
    u64 seq = pack_whole(pack_find(p, end, "seq"), end);
    caught_up(c, seq, same(where, where_size, c->conversation) ? words : NULL, text_size);
}

static void keep_cursor(struct client *c, const u8 *p, const u8 *end) {
    size_t size;
    const u8 *cursor = pack_string(pack_find(p, end, "cursor"), end, &size);
    if (options.mode != STORM || !cursor) return;
    free(c->cursor);
    c->cursor = strndup((const char *)cursor, size);
}

static void error(struct client *c, const u8 *p, const u8 *end, u64 now) {
    size_t code_size, text_size;
    const u8 *code = pack_string(pack_find(p, end, "code"), end, &code_size);
    const u8 *why = pack_string(pack_find(p, end, "message"), end, &text_size);
    char words[400];
    snprintf(words, sizeof words, "%.*s: %.*s", (int)code_size, code ? (const char *)code : "", (int)text_size,
             why ? (const char *)why : "");
    refused(c, words);
    answered(c, pack_whole(pack_find(p, end, "id"), end), 0, p, end, now);
}

static void message(struct client *c, const u8 *p, size_t size, u64 now) {
    const u8 *end = p + size;
    /* The server writes "t" first; another that does not is understood too, slower. */
    const u8 *tag = size > 4 && (*p & 0xf0) == 0x80 && p[1] == 0xa1 && p[2] == 't' ? p + 3 : pack_find(p, end, "t");
    size_t n;
    const u8 *t = pack_string(tag, end, &n);
    if (!t) counts.wrong++;
    else if (n == 5 && !memcmp(t, "entry", 5)) {
        if (storming) entry_missed(c, p, end);
        else delivered(c, p, end, now);
    } else if (n == 2 && !memcmp(t, "ok", 2)) {
        const u8 *id = t + 2;
        id = end - id > 4 && !memcmp(id, "\xa2id", 3) ? id + 3 : pack_find(p, end, "id");
        if (c->state == LIVE) answered(c, pack_whole(id, end), 1, p, end, now);
    } else if (n == 5 && !memcmp(t, "error", 5)) error(c, p, end, now);
    else if (n == 6 && !memcmp(t, "synced", 6)) {
        keep_cursor(c, p, end);
        synced(c, now);
    } else if (n == 6 && !memcmp(t, "cursor", 6)) keep_cursor(c, p, end);
    else if (n == 8 && !memcmp(t, "progress", 8)) keep_cursor(c, p, end);
    else counts.others++;
}

const struct protocol konnect = {
    .name = "konnect", .modes = 1 << PING | 1 << FANOUT | 1 << DIRECT | 1 << IDLE | 1 << STORM | 1 << BESIDE,
    .path = "/v1/socket", .subprotocol = "konnect.v1", .opcode = 2,
    .opened = hello, .message = message, .ping = ping, .send = send_text, .text = text,
};
