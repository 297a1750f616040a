/* Bytes on their way out: a body is put together here, then pushed to a socket, where it waits for the round's end. */
#include "load.h"
#include <stdio.h>
#include <stdlib.h>

u8 body[70000];
size_t body_size;

void put(const void *data, size_t size) {
    if (size > sizeof body - body_size) fail("a message is too long");
    memcpy(body + body_size, data, size);
    body_size += size;
}

void put_byte(u8 b) { put(&b, 1); }
void put_text(const char *text) { put(text, strlen(text)); }

void put_decimal(u64 v) {
    char digits[20], *p = digits + sizeof digits;
    do *--p = (char)('0' + v % 10); while (v /= 10);
    put(p, (size_t)(digits + sizeof digits - p));
}

size_t stamped_size(void) { return (size_t)(options.bytes < 16 ? 16 : options.bytes); }

void put_stamped(u64 at) {
    size_t rest = stamped_size() - 16;
    char stamp[16];
    for (int i = 15; i >= 0; i--, at >>= 4) stamp[i] = "0123456789abcdef"[at & 15];
    put(stamp, sizeof stamp);
    if (rest > sizeof body - body_size) fail("a message is too long");
    memset(body + body_size, 'x', rest);
    body_size += rest;
}

u64 stamp_of(const u8 *text, size_t size) {
    u64 at = 0;
    if (!text || size < 16) return 0;
    for (int i = 0; i < 16; i++) {
        u8 c = text[i];
        if (c >= '0' && c <= '9') at = at << 4 | (u64)(c - '0');
        else if (c >= 'a' && c <= 'f') at = at << 4 | (u64)(c - 'a' + 10);
        else return 0;
    }
    return at;
}

/* Unique in the world for each message: a server that drops repeats must not see one. */
void put_key(const struct client *c, u64 id) {
    char key[64];
    put(key, (size_t)snprintf(key, sizeof key, "%llx-%td-%llu", run_id, c - clients, id));
}

void push_plain(struct client *c) {
    c->out = grown(c->out, &c->out_room, c->out_size + body_size);
    memcpy(c->out + c->out_size, body, body_size);
    c->out_size += body_size;
    body_size = 0;
    touch(c);
}

void *grown(void *memory, size_t *room, size_t wanted) {
    if (wanted <= *room) return memory;
    *room = wanted * 2;
    memory = realloc(memory, *room);
    if (!memory) fail("out of memory");
    return memory;
}
