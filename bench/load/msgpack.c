/* MessagePack, as much as is needed to look into a message without decoding it, and to write one. */
#include "load.h"

static const u8 *skip(const u8 *p, const u8 *end);

static const u8 *skip_many(const u8 *p, const u8 *end, u64 count) {
    while (count-- && p) p = skip(p, end);
    return p;
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

const u8 *pack_find(const u8 *p, const u8 *end, const char *key) {
    if (!p || p >= end) return NULL;
    u64 pairs;
    if ((*p & 0xf0) == 0x80) pairs = *p++ & 15;
    else if (*p == 0xde && end - p >= 3) pairs = big(p + 1, 2), p += 3;
    else return NULL;
    size_t size = strlen(key);
    while (pairs-- && p) {
        int found = p < end && *p == (0xa0 | size) && (size_t)(end - p) > size && !memcmp(p + 1, key, size);
        p = skip(p, end);
        if (found) return p;
        if (p) p = skip(p, end);
    }
    return NULL;
}

const u8 *pack_string(const u8 *p, const u8 *end, size_t *size) {
    *size = 0;
    const u8 *after = p ? skip(p, end) : NULL;
    if (!after) return NULL;
    int head;
    if ((*p & 0xe0) == 0xa0) head = 1;
    else if (*p >= 0xd9 && *p <= 0xdb) head = 1 + (1 << (*p - 0xd9));
    else return NULL;
    *size = (size_t)(after - p) - (size_t)head;
    return p + head;
}

u64 pack_whole(const u8 *p, const u8 *end) {
    if (!p || p >= end) return ~0ull;
    if (*p < 0x80) return *p;
    if (*p >= 0xcc && *p <= 0xcf && end - p > 1 << (*p - 0xcc)) return big(p + 1, 1 << (*p - 0xcc));
    return ~0ull;
}

static void put_string_head(size_t n) {
    if (n < 32) put_byte((u8)(0xa0 | n));
    else if (n < 256) put_byte(0xd9), put_byte((u8)n);
    else put_byte(0xda), put_byte((u8)(n >> 8)), put_byte((u8)n);
}

void pack_put_string(const char *text) {
    size_t n = strlen(text);
    put_string_head(n);
    put(text, n);
}

void pack_put_stamped(u64 at) {
    put_string_head(stamped_size());
    put_stamped(at);
}

void pack_put_whole(u64 v) {
    put_byte(0xcf);
    for (int i = 56; i >= 0; i -= 8) put_byte((u8)(v >> i));
}
