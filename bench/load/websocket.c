/* WebSocket by hand: the handshake (RFC 6455, section 4.1), frames in and out (section 5.2). */
#define _GNU_SOURCE
#include "load.h"
#include <stdio.h>

/* 16 bytes in base64, and SHA-1 of it and RFC 6455's GUID: a key that never changes needs no SHA-1 here. */
#define WS_KEY "a29ubmVjdC1iZW5jaC0wMQ=="
#define WS_ACCEPT "VCUCx0eCwvbuU7KLSJZfGLD8A6o="

enum { PONG = 10 };

void ask_upgrade(struct client *c) {
    put_text("GET "), put_text(options.protocol->path);
    put_text(" HTTP/1.1\r\nHost: "), put_text(host_header);
    put_text("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: " WS_KEY "\r\n");
    if (options.protocol->subprotocol) {
        put_text("Sec-WebSocket-Protocol: "), put_text(options.protocol->subprotocol);
        put_text("\r\n");
    }
    put_text("\r\n");
    push_plain(c);
}

/* Returns the size of the answer's head when it has come whole and is right, 0 when more must come. */
size_t upgraded(struct client *c, const u8 *data, size_t size) {
    const u8 *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end + 4 - data);
    if (head >= 12 && !memcmp(data, "HTTP/1.1 101", 12) && memmem(data, head, WS_ACCEPT, strlen(WS_ACCEPT)))
        return head;
    const u8 *line = memchr(data, '\r', size);
    if (storming && head >= 12 && !memcmp(data, "HTTP/1.1 5", 10)) lost(c, 1013, "the server is too busy");
    else fail("the server refused the socket: %.*s", (int)(line - data), (const char *)data);
    return 0;
}

static void closed(struct client *c, const u8 *p, size_t n) {
    char reason[130];
    int code = n >= 2 ? (int)big(p, 2) : 1005;
    quoted((const char *)p + 2, n > 2 ? n - 2 : 0, reason, sizeof reason);
    lost(c, code, reason);
}

/* Takes whole frames from *data*; returns how many bytes were taken. */
size_t take_frames(struct client *c, const u8 *data, size_t size, u64 now) {
    const u8 whole = (u8)(0x80 | options.protocol->opcode);
    void (*const message)(struct client *, const u8 *, size_t, u64) = options.protocol->message;
    size_t at = 0;
    while (size - at >= 2 && c->state > DEAD) {
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
        if (p[0] == whole) message(c, p + head, n, now);
        else if (p[0] == 0x88) closed(c, p + head, n);
        else if (p[0] == 0x89) {
            /* A slow reader's answer after the server's end would reset the stream, and what is left in it. */
            if (n < 126 && !c->was_stopped) put(p + head, n), push_frame(c, PONG);
        } else if (p[0] != 0x8a) fail("a frame that cannot be: first byte %02x", p[0]);
    }
    return at;
}

void push_message(struct client *c) { push_frame(c, options.protocol->opcode); }

void push_frame(struct client *c, int opcode) {
    c->out = grown(c->out, &c->out_room, c->out_size + body_size + 14);
    u8 *p = c->out + c->out_size, *start = p;
    *p++ = (u8)(0x80 | opcode);
    if (body_size < 126) *p++ = (u8)(0x80 | body_size);
    else if (body_size < 65536) *p++ = 0x80 | 126, *p++ = (u8)(body_size >> 8), *p++ = (u8)body_size;
    else {
        *p++ = 0x80 | 127;
        for (int i = 56; i >= 0; i -= 8) *p++ = (u8)((u64)body_size >> i);
    }
    c->mask ^= c->mask << 13, c->mask ^= c->mask >> 17, c->mask ^= c->mask << 5;
    u8 mask[4];
    memcpy(mask, &c->mask, 4);
    memcpy(p, mask, 4), p += 4;
    for (size_t i = 0; i < body_size; i++) p[i] = body[i] ^ mask[i & 3];
    c->out_size += (size_t)(p - start) + body_size;
    body_size = 0;
    touch(c);
}
