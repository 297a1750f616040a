/* JSON, as much as is needed to look into a message without decoding it. */
#include "load.h"

static const u8 *blanks(const u8 *p, const u8 *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p < end ? p : NULL;
}

/* *p* is a string's first quote; what follows its last one. */
static const u8 *skip_string(const u8 *p, const u8 *end) {
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\') p++;
    }
    return NULL;
}

static const u8 *skip(const u8 *p, const u8 *end) {
    int depth = 0;
    do {
        if (!(p = blanks(p, end))) return NULL;
        if (*p == '"') p = skip_string(p, end);
        else if (*p == '{' || *p == '[') depth++, p++;
        else if (*p == '}' || *p == ']') depth--, p++;
        else if (*p == ',' || *p == ':') p++;
        else while (p < end && !strchr(",:]} \t\r\n", *p)) p++;      /* a number, true, false, null */
    } while (p && depth > 0);
    return depth < 0 ? NULL : p;
}

const u8 *json_find(const u8 *p, const u8 *end, const char *key) {
    size_t size = strlen(key);
    if (!p || !(p = blanks(p, end)) || *p != '{') return NULL;
    for (p++; (p = blanks(p, end)) && *p == '"';) {
        const u8 *name = p + 1;
        if (!(p = skip_string(p, end))) return NULL;
        int found = (size_t)(p - 1 - name) == size && !memcmp(name, key, size);
        if (!(p = blanks(p, end)) || *p != ':' || !(p = blanks(p + 1, end))) return NULL;
        if (found) return p;
        if (!(p = skip(p, end)) || !(p = blanks(p, end)) || *p != ',') return NULL;
        p++;
    }
    return NULL;
}

const u8 *json_string(const u8 *p, const u8 *end, size_t *size) {
    *size = 0;
    if (!p || !(p = blanks(p, end)) || *p != '"') return NULL;
    const u8 *after = skip_string(p, end);
    if (!after) return NULL;
    *size = (size_t)(after - p) - 2;
    return p + 1;
}

u64 json_whole(const u8 *p, const u8 *end) {
    if (!p || !(p = blanks(p, end)) || *p < '0' || *p > '9') return ~0ull;
    u64 v = 0;
    while (p < end && *p >= '0' && *p <= '9') v = v * 10 + (u64)(*p++ - '0');
    return v;
}
