/* Socket.IO protocol 5 over Engine.IO 4, WebSocket from the start, text packets, default namespace. TOKEN goes into
 * CONNECT's auth, in a storm with "heads": {CONVERSATION: head}; CONVERSATION: the room. The server's events and
 * acknowledgements are those of bench/peers/socketio. Packets: 0 open, 2 ping, 3 pong, 40 CONNECT, 42 EVENT, 43 ACK,
 * 44 CONNECT_ERROR, 41 DISCONNECT. */
#include "load.h"
#include <stdio.h>

static void opened(struct client *c) { (void)c; }              /* the server's open packet comes first */

static void connect_namespace(struct client *c) {
    put_text("40{\"token\":\""), put_text(c->token), put_text("\"");
    if (storming) {
        put_text(",\"heads\":{\""), put_text(c->conversation), put_text("\":");
        put_decimal(c->head + c->caught), put_text("}");
    }
    put_text("}");
    push_message(c);
}

static void ping(struct client *c, u64 id, u64 at) {
    put_text("42"), put_decimal(id), put_text("[\"ping\",\"");
    put_stamped(at);
    put_text("\"]");
    push_message(c);
}

static void send_text(struct client *c, u64 id, u64 at) {
    put_text("42"), put_decimal(id), put_text("[\"send\",{\"room\":\"");
    put_text(c->conversation), put_text("\",\"key\":\"");
    put_key(c, id), put_text("\",\"text\":\"");
    put_stamped(at), put_text("\"}]");
    push_message(c);
}

/* The object of an entry's event, or the first value of an acknowledgement. */
static const u8 *value(const u8 *p, const u8 *end) {
    static const char entry[] = "42[\"entry\",";
    if ((size_t)(end - p) > sizeof entry && !memcmp(p, entry, sizeof entry - 1)) return p + sizeof entry - 1;
    const u8 *bracket = memchr(p, '[', (size_t)(end - p));
    return bracket ? bracket + 1 : NULL;
}

static const u8 *text(const u8 *p, const u8 *end, size_t *size) {
    const u8 *v = value(p, end);
    return json_string(options.mode == PING ? v : json_find(v, end, "text"), end, size);
}

static void entry_missed(struct client *c, const u8 *p, const u8 *end) {
    size_t room_size, text_size;
    const u8 *object = value(p, end);
    const u8 *room = json_string(json_find(object, end, "room"), end, &room_size);
    const u8 *words = json_string(json_find(object, end, "text"), end, &text_size);
    caught_up(c, json_whole(json_find(object, end, "seq"), end), same(room, room_size, c->conversation) ? words : NULL,
              text_size);
}

static void acknowledged(struct client *c, const u8 *p, const u8 *end, u64 now) {
    u64 id = json_whole(p + 2, end);
    const u8 *v = value(p, end);
    int good = options.mode == PING ? v && *v == '"' : json_find(v, end, "seq") != NULL;
    if (!good) {
        char words[200];
        size_t size;
        const u8 *why = json_string(json_find(v, end, "error"), end, &size);
        snprintf(words, sizeof words, "%.*s", (int)size, why ? (const char *)why : "");
        refused(c, words);
    }
    answered(c, id, good, p, end, now);
}

static void message(struct client *c, const u8 *p, size_t size, u64 now) {
    static const char entry[] = "42[\"entry\"", done[] = "42[\"synced\"";
    const u8 *end = p + size;
    if (size > sizeof entry && !memcmp(p, entry, sizeof entry - 1)) {
        if (storming) entry_missed(c, p, end);
        else delivered(c, p, end, now);
    } else if (size > 3 && p[0] == '4' && p[1] == '3') acknowledged(c, p, end, now);
    else if (size == 1 && p[0] == '2') put_byte('3'), push_message(c);
    else if (size > 1 && p[0] == '0') connect_namespace(c);
    else if (size >= sizeof done && !memcmp(p, done, sizeof done - 1)) synced(c, now);
    else if (size >= 2 && p[0] == '4' && p[1] == '4') {
        size_t n;
        char words[200];
        const u8 *why = json_string(json_find(p + 2, end, "message"), end, &n);
        snprintf(words, sizeof words, "%.*s", (int)n, why ? (const char *)why : "");
        fail("a sign-in was refused: %s", words);
    } else if ((size >= 2 && p[0] == '4' && p[1] == '1') || (size == 1 && p[0] == '1')) lost(c, 1000, "disconnected");
    else counts.others++;
}

const struct protocol socketio = {
    .name = "socketio", .modes = 1 << PING | 1 << FANOUT | 1 << DIRECT | 1 << IDLE | 1 << STORM,
    .path = "/socket.io/?EIO=4&transport=websocket", .opcode = 1,
    .opened = opened, .message = message, .ping = ping, .send = send_text, .text = text,
};
